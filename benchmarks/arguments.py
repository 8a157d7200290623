"""Arguments that benchmarks share. A wrong one gives one line and exit status 2."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from ehap.errors import SettingsError
from ehap.settings.names import MODELS

Clock = Callable[[], float]
"""Seconds, as time.perf_counter or time.process_time return them."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print the error and the command for help, and exit with status 2."""
        print(f"error: {message.rstrip('.')}; {self.prog} --help explains the arguments.", file=sys.stderr)
        sys.exit(2)


def whole(least: int) -> Callable[[str], int]:
    """Return the reader of a whole number of at least ``least``."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r}")
        return number

    return read


def share(text: str) -> float:
    """Read a number above 0, up to 1."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"expected a share above 0, up to 1, got {text!r}")
    return number


def existing(text: str) -> Path:
    """Read the path of a file that is there."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return path


def threads(text: str) -> int:
    """Read a number of CPU threads; 0 stands for every core of this process."""
    return whole(0)(text) or cores()


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def add_models(parser: argparse.ArgumentParser, default: Sequence[str]) -> None:
    """Add ``--models``."""
    parser.add_argument(
        "--models", nargs="+", choices=MODELS, default=list(default), help=f"default: {' '.join(default)}"
    )


def add_device(parser: argparse.ArgumentParser, default_threads: str) -> None:
    """Add ``--device`` and ``--threads``."""
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    add_threads(parser, default_threads)


def add_threads(parser: argparse.ArgumentParser, default: str) -> None:
    """Add ``--threads``."""
    parser.add_argument(
        "--threads", type=threads, default=default, help=f"CPU threads, 0: all cores; default: {default}"
    )


def add_processor(parser: argparse.ArgumentParser) -> None:
    """Add ``--threads`` (default: one) and ``--clock``, for benchmarks of the processor alone."""
    parser.set_defaults(device="cpu")
    add_threads(parser, "1")
    parser.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall", help="cpu: for one thread on a busy machine"
    )


def add_rounds(parser: argparse.ArgumentParser, default: int) -> None:
    """Add ``--rounds``."""
    parser.add_argument(
        "--rounds", type=whole(1), default=default, help=f"in which contenders take turns; default: {default}"
    )


def clock_of(args: argparse.Namespace) -> Clock:
    """Return the clock that ``--clock`` names.

    Raises:
        SettingsError: The processor's clock is asked for, and there are several threads.
    """
    if args.clock == "cpu" and args.threads > 1:
        raise SettingsError(f"--clock cpu adds up the time of all threads, got {args.threads}; say --threads 1.")
    return time.process_time if args.clock == "cpu" else time.perf_counter
