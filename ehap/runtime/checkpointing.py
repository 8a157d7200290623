"""States of long computations."""

from typing import Any, Protocol


class Checkpointer(Protocol):
    """Keeps the state of a long computation, so that a job that is cut off can go on."""

    def read(self) -> Any | None:
        """Return the state to go on from; None to start anew."""

    def due(self) -> bool:
        """Return whether the state should be kept now: it is long since the last time, or the job is to stop."""

    def write(self, state: Any) -> None:
        """Keep ``state``; raise StoppedError if the job is to stop."""


class NoCheckpoints:
    """A Checkpointer for computations that may as well start anew."""

    def read(self) -> None:
        """Return None."""

    def due(self) -> bool:
        """Return False."""
        return False

    def write(self, state: Any) -> None:
        """Do nothing."""


NO_CHECKPOINTS = NoCheckpoints()
