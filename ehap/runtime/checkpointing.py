"""The interface of checkpoints of long computations."""

from typing import Any, Protocol


class Checkpointer(Protocol):
    """Keeps the state of a long computation, so that an interrupted job can go on."""

    def read(self) -> Any | None:
        """Return the last state; None at a new start."""

    def due(self) -> bool:
        """Return whether to keep the state now: the last one is old, or the job is to stop."""

    def write(self, state: Any) -> None:
        """Keep ``state``.

        Raises:
            StoppedError: The job is to stop.
        """


class NoCheckpoints:
    """A Checkpointer that keeps nothing."""

    def read(self) -> None:
        """Return None."""

    def due(self) -> bool:
        """Return False."""
        return False

    def write(self, state: Any) -> None:
        """Do nothing."""


NO_CHECKPOINTS = NoCheckpoints()
