"""One job at a time for each output: a second one waits, whoever has started it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ehap.runtime.files import locked

logger = logging.getLogger("ehap")
FOLDER = "locks"
AGAINST = "a second job for the same output"


@contextmanager
def alone(states: Path | None, output: Path) -> Iterator[None]:
    """Keep other jobs from the outputs of this one while the block runs; wait while another job writes them.

    The system frees the lock of a job that ends, however it ends.

    Args:
        states: Folder of the run for files that must outlive its jobs; None locks nothing.
        output: The first output of the job.
    """
    if states is None:
        yield
        return
    path = states / FOLDER / f"{str(output).strip('/')}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        logger.warning("no lock in %s (%s): start no second job for the same output", path.parent, error)
        yield
        return
    with file:
        if not locked(file, wait=False, against=AGAINST):
            logger.info("another job is at work on %s; waiting until it has ended (it holds %s)", output, path)
            locked(file, wait=True, against=AGAINST)
        yield
