"""Memory of a process: its peak, and the pages that it keeps."""

import contextlib
import ctypes
import resource
import sys
from pathlib import Path

import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h


def keep_freed_memory() -> None:
    """Have this process keep for itself what it frees, where its C library is glibc; elsewhere nothing happens.

    Each step of a training asks again for the megabytes that the one before has freed. If they went back to the system
    in between, it would hand them out page by page, filled with zeros: 20,000 of them in a step of a ResNet-20 with 128
    images. Source: mallopt(3).
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # no such function or library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)  # no block has pages of its own, that go with it
        mallopt(M_TRIM_THRESHOLD, -1)  # nor does the end of the heap


class PeakMemory:
    """Measure, as a context manager, the most memory that a block of code holds at a time.

    ``bytes`` after the block: on a GPU the peak of torch's allocations; on a CPU the peak resident memory of the
    process less what was resident at the start (Linux; elsewhere the growth of its lifetime peak). Memory that the
    process freed before and uses again is resident all the time and not counted: measure in a fresh process.
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
