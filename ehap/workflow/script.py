"""Command lines of workflow scripts: arguments in; lock, log, what was read and written, and exit code out."""

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ehap.errors import EhapError, SettingsError, StoppedError
from ehap.records import Job
from ehap.runtime.files import LogFile, removals_wait, writing
from ehap.settings import Machine, build
from ehap.workflow import kept
from ehap.workflow.code import code_in_memory
from ehap.workflow.gpus import gpu_share
from ehap.workflow.locks import alone
from ehap.workflow.sources import Sources, check_unchanged, hashed, installed, write_sources

STOPPED = 143  # as a shell reports a job that SIGTERM ended
CELL = [field.name for field in fields(Job) if field.name not in ("stage", "started")]
HOLDERS = ("record", "sources")
"""Options that name the file in which a job says what it read and wrote."""

logger = logging.getLogger("ehap")


def _stand_in(words: list[str]) -> list[str]:
    """Return the words of the coming command line as this one takes them; goes with this file."""
    found: dict[str, list[str]] = {}
    rest: list[str] = []
    outputs: list[str] = []
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if word not in ("--input", "--output", "--option"):
            rest.append(word)
            continue
        name, _, value = waiting.pop(0).partition("=")
        if word == "--output":
            outputs.append(value)
        found.setdefault(_flag(name), []).append(value)
    lists = [word for name, values in found.items() for word in (name, *values)]
    lists = [f"--options={found[name][0]}" if name == "--options" else name for name in lists]
    if "--options" in found:
        lists.remove(found["--options"][0])
    return rest + lists + ["--further-outputs", *outputs]


def arguments(
    *reads: str,
    writes: tuple[str, ...],
    settings: type | None = None,
    optional: tuple[str, ...] = (),
    several: tuple[str, ...] = (),
    beside: tuple[str, ...] = (),
) -> argparse.Namespace:
    """Read a script's command line.

    Args:
        reads: Names of the files that the job reads: ``checkpoint`` becomes ``--checkpoint PATH``.
        writes: Names of the files that it writes; one of them is ``record``, or ``sources`` where it has no record.
        settings: The stage's settings; ``--settings`` takes them as JSON.
        optional: Names of files that it reads where they are given.
        several: Names of options that take any number of files that it reads.
        beside: Names of further paths, such as folders.

    Returns:
        The paths, ``settings`` and ``machine`` built and checked, ``job``, the other options, and as ``inputs`` and
        ``outputs`` the files that the job reads and writes.
    """
    stage = Path(sys.argv[0]).stem
    parser = argparse.ArgumentParser(prog=f"{stage}.py", description=f"The stage {stage} of one cell.")
    for name in (*reads, *writes, *beside, *optional):
        parser.add_argument(_flag(name), type=Path, required=name not in optional, metavar="PATH")
    for name in several:
        parser.add_argument(_flag(name), type=Path, nargs="*", default=[], metavar="PATH")
    parser.add_argument("--further-outputs", type=Path, nargs="*", default=[], metavar="PATH", help="written, too")
    for name in CELL:
        kind = int if name == "seed" else str
        parser.add_argument(_flag(name), type=kind, default=kind(), metavar=name.upper())
    if settings is not None:
        parser.add_argument("--settings", required=True, metavar="JSON", help=f"fields of {settings.__name__}")
    parser.add_argument("--machine", default="{}", metavar="JSON", help="fields of Machine; all have defaults")
    parser.add_argument("--gpu-percent", type=int, default=0, metavar="N", help="share of a GPU to keep; 0: no queue")
    parser.add_argument("--states", type=_path_or_none, metavar="PATH", help="folder for what must outlive a job")
    parser.add_argument("--events", type=_path_or_none, metavar="PATH", help="folder for TensorBoard event files")
    parser.add_argument("--log", type=Path, metavar="PATH", help="write progress there instead of to the terminal")
    parsed, _ = parser.parse_known_args(_stand_in(sys.argv[1:]))
    parsed.job = Job(stage=stage, **{name: getattr(parsed, name) for name in CELL})
    given = [getattr(parsed, name) for name in (*reads, *optional)]
    parsed.inputs = [path for path in given if path is not None] + [
        p for name in several for p in getattr(parsed, name)
    ]
    parsed.outputs = list(dict.fromkeys([*(getattr(parsed, name) for name in writes), *parsed.further_outputs]))
    parsed.plain_settings = None
    try:
        parsed.machine = build(Machine, _json("--machine", parsed.machine), "machine")
        if settings is not None:
            parsed.plain_settings = _json("--settings", parsed.settings)
            parsed.settings = build(settings, parsed.plain_settings, stage)
    except EhapError as error:
        parser.exit(1, f"error: {error}\n")
    return parsed


def execute(arguments: argparse.Namespace, work: Callable[[], None], keep: bool = False) -> None:
    """Do a script's work: alone, on its share of a GPU, with its log lines in a file and its sources in its record.

    An EhapError becomes one clear line, there and on stderr, and exit code 1 (or 143 if the job was told to stop).

    Args:
        arguments: As ``arguments`` has read them.
        work: Reads ``arguments.inputs`` and writes ``arguments.outputs``.
        keep: Whether finished outputs are kept until Snakemake has taken them over; for work that takes long.
    """
    with _logged(arguments.log), alone(arguments.states, arguments.outputs[0]), gpu_share(arguments.gpu_percent):
        code = code_in_memory(Path(sys.argv[0]), arguments.code)
        read = hashed(arguments.inputs)
        key = [arguments.plain_settings, code, read]
        if keep and arguments.states and kept.take(arguments.states, arguments.outputs, key):
            logger.info("an earlier job has made this already, from the same inputs, settings and code; taken over")
            return
        arguments.job = replace(arguments.job, started=time.monotonic())  # it does not count the wait for the GPU
        with removals_wait():  # of states, until the outputs are whole and kept
            work()
            holder = next(getattr(arguments, name) for name in HOLDERS if hasattr(arguments, name))
            written = hashed(path for path in arguments.outputs if path != holder)
            sources = Sources(
                inputs=read, settings=arguments.plain_settings, code=code, libraries=installed(), outputs=written
            )
            write_sources(holder, sources)
            if keep and arguments.states:
                kept.keep(arguments.states, arguments.outputs, key)
        check_unchanged(read)


@contextmanager
def _logged(log: Path | None) -> Iterator[None]:
    logger.setLevel(logging.INFO)
    try:
        if log is not None:
            _add_handler(logger, LogFile(log))
        elif not sys.stderr.isatty():  # on a terminal progress bars say it
            _add_handler(logger, logging.StreamHandler())
        with writing():
            yield
        logger.info("done")
    except EhapError as error:
        if log is not None and logger.handlers:  # there may be no room for the log either
            logger.error("error: %s", error)
        print(f"error: {error}", file=sys.stderr)
        sys.exit(STOPPED if isinstance(error, StoppedError) else 1)
    except BaseException:
        if log is not None:
            logger.exception("unexpected error")
        raise


def _add_handler(logger: logging.Logger, handler: logging.Handler) -> None:
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger.addHandler(handler)


def _path_or_none(text: str) -> Path | None:
    return Path(text) if text else None


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _json(flag: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingsError(f"{flag}: expected JSON, got {text!r} ({error}).") from None
