"""The runner of workflow scripts: lock, log, share of a GPU, hashes of files read and written, and exit code."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ehap.artifacts.job import Job
from ehap.errors import EhapError, StoppedError
from ehap.runtime.extras import packages_named
from ehap.runtime.files import LogFile, removals_wait, writing
from ehap.workflow import kept
from ehap.workflow.code import code_in_memory
from ehap.workflow.command_line import CommandLine, Names, read_command_line
from ehap.workflow.gpus import gpu_share
from ehap.workflow.locks import alone
from ehap.workflow.own_code import criterion_of
from ehap.workflow.sources import Sources, check_unchanged, hashed, installed, write_sources

STOPPED = 143  # as a shell reports a job that SIGTERM ended
HOLDERS = ("record", "sources")
"""Outputs that hold the sources of a job: its record, or a file of its own."""
Work = Callable[[Job[Any]], None]
Derived = Callable[[Job[Any]], Mapping[str, Sequence[Path]]]

logger = logging.getLogger("ehap")


def execute(
    work: Work,
    *,
    outputs: str,
    inputs: str = "",
    options: str = "",
    settings: type | None = None,
    stage: str = "",
    keep: bool = False,
    derived: Derived | None = None,
    incomplete: bool = False,
) -> None:
    """Read the command line and do a script's work: alone, on its share of a GPU, with a log.

    The record of the job gets its sources: hashes of the files read and written. An EhapError becomes one line, in the
    log and on stderr, and exit code 1, or 143 if the job was told to stop.

    Args:
        work: The work. It imports its stage when it is called: imports of a stage may start CUDA, which fixes the
            visible GPUs.
        outputs: Names of the files that the job writes, with spaces between them; one is ``record`` or ``sources``.
            Here and below, ``name?`` may be left out, and ``name*`` stands for any number of files.
        inputs: Names of the files that the job reads.
        options: Names of further words.
        settings: Dataclass of the stage's settings.
        stage: Name of the stage, if the script has another name.
        keep: Whether finished outputs are kept until Snakemake has taken them over; for work that takes long.
        derived: Function from the job to further inputs by name, too many for a command line.
        incomplete: Whether derived inputs may be missing.
    """
    script = Path(sys.argv[0])
    names = (Names.of(each) for each in (inputs, outputs, options))
    line = read_command_line(script, str(work.__globals__["__doc__"]), stage or script.stem, settings, *names)
    with _logged(line.log), alone(line.job.states, line.job.output_files()[0]), gpu_share(line.gpu_percent):
        further = derived(line.job) if derived is not None else {}
        more = [path for paths in further.values() for path in paths if path.exists() or not incomplete]
        read = dict.fromkeys([*line.job.input_files(), *more])
        job = replace(line.job, inputs={**line.job.inputs, **further})
        _do(work, replace(line, job=job), script, read, keep)


def _do(work: Work, line: CommandLine, script: Path, files: Iterable[Path], keep: bool) -> None:
    """Do the work, unless an earlier job has kept its outputs; record the files read and written."""
    code = code_in_memory(script, line.job.identity.code, criterion_of(line.plain_settings))
    read = hashed(files)
    key, written = [line.plain_settings, code, read], line.job.output_files()
    kept_in = line.job.states if keep else None
    if kept_in and kept.take(kept_in, written, key):
        logger.info("an earlier job has made this already, from the same inputs, settings and code; taken over")
        return
    started = replace(line.job.identity, started=time.monotonic())  # it does not count the wait for the GPU
    with removals_wait():  # of states, until the outputs are whole and kept
        work(replace(line.job, identity=started))
        holder = next(line.job.output(name) for name in HOLDERS if name in line.job.outputs)
        sources = Sources(
            inputs=read,
            settings=line.plain_settings,
            code=code,
            libraries=installed(),
            outputs=hashed(path for path in written if path != holder),
        )
        write_sources(holder, sources)
        if kept_in:
            kept.keep(kept_in, written, key)
    check_unchanged(read)


@contextmanager
def _logged(log: Path | None) -> Iterator[None]:
    logger.setLevel(logging.INFO)
    try:
        if log is not None:
            _add_handler(logger, LogFile(log))
        elif not sys.stderr.isatty():  # on a terminal progress bars say it
            _add_handler(logger, logging.StreamHandler())
        with writing(), packages_named():
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
