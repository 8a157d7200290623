"""State of a job that was cut off, from which its next try goes on.

The state lies outside the rule's outputs, since Snakemake deletes those of a failed job. A finished job removes it.
"""

import io
import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from ehap.artifacts.job import Job
from ehap.errors import BusyError, StoppedError
from ehap.records import Identity
from ehap.runtime.device import device_name
from ehap.runtime.files import locked, remove_folder, sha256_of, write_atomically
from ehap.runtime.progress import logger

CPU = torch.device("cpu")
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class JobCheckpoint:
    """The Checkpointer of one job: its state file, and the one before it.

    A state belongs to the job's identity, settings and input files by content, to the device and to ``found``. A state
    of anything else is not used.

    Args:
        job: The job. Without a folder for states, none is kept. A state is due when the last one is as old as the
            machine's ``seconds_between_states``.
        device: Device of the computation.
        found: Further results on which the computation depends, as JSON can hold them.
    """

    def __init__(self, job: Job[Any], device: torch.device = CPU, found: Any = None) -> None:
        self._owner = "" if job.states is None else _owner(job, device, found)
        self._path = None if job.states is None else job_folder(job.states, job.identity) / "state.pt"
        self._seconds, self._last, self._stop = job.machine.seconds_between_states, time.monotonic(), ""
        self._newest_is_good = False

    @contextmanager
    def listening(self) -> Iterator["JobCheckpoint"]:
        """Turn the first SIGTERM or Ctrl-C into a last state and StoppedError; a second one ends the job at once.

        Raises:
            BusyError: Another process is at work on the same job, so that states would mix.
        """
        with self._alone():
            before = {number: signal.signal(number, self._told) for number in SIGNALS}
            try:
                yield self
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Lock the job's folder. The system frees the lock, even if the process is killed."""
        if self._path is None:
            yield
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = (self._path.parent / "lock").open("w")
        except OSError as error:
            logger.warning("no state can be kept in %s (%s); the job goes on without it", self._path.parent, error)
            yield
            return
        with lock:
            if not locked(lock, wait=False, against="a second process at the same job"):
                raise BusyError(
                    f"another process is at work on this job (it holds {lock.name}), perhaps left from a run that "
                    "was killed; end it or wait for it, then run again."
                )
            for left_over in self._path.parent.glob(".*.tmp"):
                left_over.unlink()
            yield

    def _told(self, number: int, frame: FrameType | None) -> None:
        self._stop = signal.Signals(number).name
        logger.info("%s: stopping as soon as the state is kept", self._stop)
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)

    def due(self) -> bool:
        """Return whether a state should be kept now."""
        return bool(self._stop) or time.monotonic() - self._last >= self._seconds

    def read(self) -> Any | None:
        """Return the newest usable state; None to start anew. The log names states that cannot be used."""
        for path in self._generations():
            state = _read(path, self._owner)
            if state is not None:
                self._newest_is_good = path == self._path
                return state
        return None

    def write(self, state: Any) -> None:
        """Keep ``state`` and the one before it. If that fails, the log says so and the job goes on.

        Raises:
            StoppedError: A signal has told the job to stop.
        """
        kept = self._path is not None and self._kept(state)
        self._last = time.monotonic()
        if self._stop:
            where = f"its state is in {self._path}; run it again to go on from there" if kept else "no state was kept"
            raise StoppedError(f"stopped by {self._stop}; {where}.")

    def _kept(self, state: Any) -> bool:
        content = io.BytesIO()
        torch.save({"owner": self._owner, "state": state}, content)
        newest, previous = self._generations()
        following = newest.with_name("next.pt")
        try:
            write_atomically(following, content.getvalue())  # whole, before the older ones are touched
            if self._newest_is_good:
                newest.replace(previous)
            following.replace(newest)
            self._newest_is_good = True
        except OSError as error:
            logger.warning("state not saved in %s (%s); the job goes on without it", newest, error)
            return False
        return True

    def remove(self) -> None:
        """Forget the state of a job that is done."""
        if self._path is not None:
            remove_folder(self._path.parent)

    def _generations(self) -> list[Path]:
        return [] if self._path is None else [self._path, self._path.with_name("previous.pt")]


def job_folder(root: Path, identity: Identity) -> Path:
    """Return the folder under ``root`` that belongs to one job."""
    seed = f"seed{identity.seed}"
    parts = (identity.stage, identity.dataset, identity.model, seed)
    return root.joinpath(*filter(None, (*parts, identity.method, identity.curvature, identity.scheme)))


def _owner(job: Job[Any], device: torch.device, found: Any) -> str:
    identity = {name: value for name, value in asdict(job.identity).items() if name != "started"}
    contents = {name: [sha256_of(path) for path in job.input_list(name)] for name in job.inputs}
    return json.dumps([identity, asdict(job.settings), contents, device_name(device), found], sort_keys=True)


def _read(path: Path, owner: str) -> Any | None:
    if not path.exists():
        return None
    try:
        found: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        state = found["state"]
        owned = found["owner"] == owner
    except Exception as error:  # torch raises many kinds for a truncated file
        logger.warning("state %s is damaged (%s); it is not used", path, str(error).splitlines()[0][:200])
        return None
    if not owned:
        logger.warning("state %s is of other settings, inputs or code, or of another device; it is not used", path)
        return None
    logger.info("found the state %s", path)
    return state
