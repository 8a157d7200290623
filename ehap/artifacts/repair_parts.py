"""States of the parts of a repair, with the memory that each part has taken."""

from typing import Any, TypedDict

import torch
from torch import Tensor

from ehap.records import Value
from ehap.runtime.checkpointing import Checkpointer
from ehap.runtime.memory import PeakMemory


class Fitted(TypedDict):
    """Results when no layer is left to fit: the network's state dict, and name to (value, unit)."""

    network: dict[str, Tensor]
    values: dict[str, tuple[float, str]]


class PartState(TypedDict):
    """The state of a part of the work, and the most memory, in bytes, that it has held so far."""

    state: Any
    peak: int


class State(TypedDict, total=False):
    """The state from which a repair goes on.

    fit: State of unfinished least squares. fitted: Results of finished ones. distillation: State of the distillation.
    """

    fit: PartState
    fitted: Fitted
    distillation: PartState


class Part:
    """The Checkpointer of a part of the work, and the meter of its memory, over all its breaks.

    Args:
        checkpointer: Checkpointer of the whole work.
        name: Key of the part's states.
        found: State of the part to go on from; None to start anew.
        beside: Results of earlier parts, which each state keeps as well.
        device: Device whose memory is measured.
    """

    def __init__(
        self, checkpointer: Checkpointer, name: str, found: PartState | None, beside: State, device: torch.device
    ) -> None:
        self._checkpointer, self._name, self._found, self._beside = checkpointer, name, found, beside
        self.memory = PeakMemory(device)

    def read(self) -> Any | None:
        """Return the state of this part."""
        return None if self._found is None else self._found["state"]

    def due(self) -> bool:
        """Return whether a state should be kept now."""
        return self._checkpointer.due()

    def write(self, state: Any) -> None:
        """Keep a state of this part."""
        self._checkpointer.write(
            {**self._beside, self._name: PartState(state=state, peak=self._peak(self.memory.so_far()))}
        )

    def peak(self) -> Value:
        """Return the most memory that was held, after the block of ``memory``."""
        return Value(self._peak(self.memory.bytes), "bytes")

    def _peak(self, now: int) -> int:
        return now if self._found is None else max(now, self._found["peak"])
