"""State of a training job that was cut off, so that the next try goes on where it was.

The state lies outside the rule's outputs, which Snakemake deletes when a job fails, and goes when the job is done.
"""

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ehap.records import Job
from ehap.runtime import logger, write_atomically
from ehap.settings import Training
from ehap.training import State


class Resume:
    """The state file of one job, and the one before it.

    Args:
        folder: Where states of the run lie; None keeps no state.
        job, settings: Whose state it is. A state of other settings, another seed or other code is not used.
    """

    def __init__(self, folder: Path | None, job: Job, settings: Training) -> None:
        self._owner = _owner(job, settings)
        parts = (job.stage, job.dataset, job.model, f"seed{job.seed}", job.method, job.scheme)
        self._path = None if folder is None else folder.joinpath(*filter(None, parts), "state.pt")

    def read(self) -> State | None:
        """Return the newest usable state; None to start anew. What is not usable is said in the log."""
        for path in self._generations():
            state = _read(path, self._owner)
            if state is not None:
                return state
        return None

    def write(self, state: State) -> None:
        """Keep ``state``, and the one before it; where that fails the training goes on, and the log says so."""
        if self._path is None:
            return
        content = io.BytesIO()
        torch.save({"owner": self._owner, "state": state}, content)
        newest, previous = self._generations()
        try:
            if newest.exists():
                newest.replace(previous)
            write_atomically(newest, content.getvalue())
        except OSError as error:
            logger.warning("state not saved in %s (%s); training goes on without it", newest, error)

    def remove(self) -> None:
        """Forget the state of a job that is done."""
        for path in self._generations():
            path.unlink(missing_ok=True)

    def _generations(self) -> list[Path]:
        return [] if self._path is None else [self._path, self._path.with_name("previous.pt")]


def _owner(job: Job, settings: Training) -> str:
    identity = {name: value for name, value in asdict(job).items() if name != "started"}
    return json.dumps([identity, asdict(settings)], sort_keys=True)


def _read(path: Path, owner: str) -> State | None:
    if not path.exists():
        return None
    try:
        found: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        state: State = found["state"]
        owned = found["owner"] == owner
    except Exception as error:  # whatever a truncated file makes torch raise, it is no state
        logger.warning("state %s is damaged (%s); it is not used", path, str(error).splitlines()[0][:200])
        return None
    if not owned:
        logger.warning("state %s is of other settings or other code; it is not used", path)
        return None
    logger.info("going on after epoch %d of the state %s", len(state["history"]), path)
    return state
