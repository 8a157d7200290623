"""Memory of a process: its peak, and its freed pages."""

import contextlib
import ctypes
import resource
import sys
from pathlib import Path

import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h


def keep_freed_memory() -> None:
    """Make this process keep the memory that it frees, where its C library is glibc; elsewhere do nothing.

    Each training step asks again for the megabytes that the step before has freed. If they went back to the system, it
    would return them page by page, filled with zeros: 20,000 pages in a step of a ResNet-20 with 128 images.

    Source: mallopt(3).
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # no such function or library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)  # no block gets its own pages, which would be returned with it
        mallopt(M_TRIM_THRESHOLD, -1)  # the end of the heap stays, too


class PeakMemory:
    """Measure the peak memory of a block of code, as a context manager.

    ``bytes`` after the block: on a GPU the peak of torch's allocations; on a CPU the peak resident memory of the
    process less the resident memory at the start (Linux; elsewhere the growth of its lifetime peak). Memory that the
    process freed before and uses again stays resident and is not counted: measure in a new process.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self.bytes, self._start = device, 0, 0

    def __enter__(self) -> "PeakMemory":
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            return self
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, see proc(5)
        self._start = _resident("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.bytes = self.so_far()

    def so_far(self) -> int:
        """Return the peak up to now, in bytes."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        return max(_resident("VmHWM") - self._start, 0)


def _resident(field: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
