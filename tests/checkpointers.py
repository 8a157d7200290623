"""A checkpointer in memory, for tests of work that is broken off."""

import io
from typing import Any

import torch

from ehap.errors import StoppedError


class Memory:
    """Keeps every state as the bytes that a file would have, and stops the work after so many of them."""

    def __init__(self, stop_after: int | None = None, start: bytes | None = None) -> None:
        self.states: list[bytes] = []
        self._stop_after, self._start = stop_after, start

    def read(self) -> Any | None:
        return loaded(self._start) if self._start else None

    def due(self) -> bool:
        return True

    def write(self, state: Any) -> None:
        content = io.BytesIO()
        torch.save(state, content)
        self.states.append(content.getvalue())
        if len(self.states) == self._stop_after:
            raise StoppedError


def loaded(content: bytes) -> Any:
    """Return the state that was kept as these bytes."""
    return torch.load(io.BytesIO(content), weights_only=True)
