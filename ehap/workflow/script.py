"""Command lines of workflow scripts: arguments in, log and exit code out."""

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ehap.errors import EhapError, SettingsError, StoppedError
from ehap.records import Job
from ehap.settings import Machine, build
from ehap.workflow.gpus import gpu_share

STOPPED = 143  # as a shell reports a job that SIGTERM ended
CELL = [field.name for field in fields(Job) if field.name not in ("stage", "started")]


def arguments(*paths: str, settings: type | None = None, optional: tuple[str, ...] = ()) -> argparse.Namespace:
    """Read a script's command line.

    Args:
        paths: Names of the required files: ``checkpoint`` becomes ``--checkpoint PATH``.
        settings: The stage's settings; ``--settings`` takes them as JSON.
        optional: Names of files that may be left out.

    Returns:
        The paths, ``settings`` and ``machine`` built and checked, ``job``, and the other options.
    """
    stage = Path(sys.argv[0]).stem
    parser = argparse.ArgumentParser(prog=f"{stage}.py", description=f"The stage {stage} of one cell.")
    for name in (*paths, *optional):
        parser.add_argument(_flag(name), type=Path, required=name in paths, metavar="PATH")
    for name in CELL:
        kind = int if name == "seed" else str
        parser.add_argument(_flag(name), type=kind, default=kind(), metavar=name.upper())
    if settings is not None:
        parser.add_argument("--settings", required=True, metavar="JSON", help=f"fields of {settings.__name__}")
    parser.add_argument("--machine", default="{}", metavar="JSON", help="fields of Machine; all have defaults")
    parser.add_argument("--gpu-percent", type=int, default=0, metavar="N", help="share of a GPU to keep; 0: no queue")
    parser.add_argument("--states", type=Path, metavar="PATH", help="folder for states of jobs that may be cut off")
    parser.add_argument("--events", type=_path_or_none, metavar="PATH", help="folder for TensorBoard event files")
    parser.add_argument("--log", type=Path, metavar="PATH", help="write progress there instead of to the terminal")
    parsed = parser.parse_args()
    parsed.job = Job(stage=stage, **{name: getattr(parsed, name) for name in CELL})
    try:
        parsed.machine = build(Machine, _json("--machine", parsed.machine), "machine")
        if settings is not None:
            parsed.settings = build(settings, _json("--settings", parsed.settings), stage)
    except EhapError as error:
        parser.exit(1, f"error: {error}\n")
    return parsed


@contextmanager
def logged(arguments: argparse.Namespace) -> Iterator[None]:
    """Run a script's work on its share of a GPU, with its log lines in a file.

    An EhapError becomes one clear line, there and on stderr, and exit code 1 (or 143 if the job was told to stop).
    """
    log: Path | None = arguments.log
    logger = logging.getLogger("ehap")
    logger.setLevel(logging.INFO)
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        _add_handler(logger, logging.FileHandler(log, mode="w"))
    elif not sys.stderr.isatty():  # on a terminal progress bars say it
        _add_handler(logger, logging.StreamHandler())
    try:
        with gpu_share(getattr(arguments, "gpu_percent", 0)):
            if hasattr(arguments, "job"):  # its time does not count the wait for the GPU
                arguments.job = replace(arguments.job, started=time.monotonic())
            yield
        logger.info("done")
    except EhapError as error:
        if log is not None:
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
