"""Device, threads, progress and memory: what a job meets on the machine it runs on."""

import contextlib
import ctypes
import logging
import platform
import re
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from ehap.errors import DeviceError
from ehap.settings.checks import Precision

Item = TypeVar("Item")
logger = logging.getLogger("ehap")
SECONDS_BETWEEN_LINES = 10.0
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h
INTEGER_SETS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm")
DTYPES: dict[Precision, torch.dtype] = {"fp16": torch.float16, "bf16": torch.bfloat16}


def choose_device(name: str, threads: int = 1) -> torch.device:
    """Return the torch device called ``auto``, ``cpu`` or ``cuda``, and set the number of CPU threads.

    Raises:
        DeviceError: ``cuda`` was asked for and there is no usable GPU.
    """
    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = False  # FP32 means FP32; on a GPU, convolutions round to 10 bits otherwise
    present = torch.cuda.is_available()
    if name == "cuda" and not present:
        raise DeviceError(
            "expected a GPU (device: cuda), but torch sees none on this machine; "
            "set machine.device to auto or cpu, or run where a GPU and its driver are."
        )
    return torch.device("cuda" if present and name in ("auto", "cuda") else "cpu")


def device_name(device: torch.device) -> str:
    """Return what the device calls itself, e.g. ``NVIDIA H200`` or ``AMD EPYC 7B13 (CPU)``."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.split(':', 1)[1].strip()} (CPU)"
    return f"{platform.processor() or platform.machine()} (CPU)"


def instruction_sets() -> str:
    """Return what this CPU has of INTEGER_SETS, e.g. ``avx2, avx512_vnni``; empty where the system does not say.

    Processors of one name may differ in them, and with them the speed of integers by a factor.
    """
    try:
        said = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return ""
    return ", ".join(name for name in INTEGER_SETS if name in said)


def precision_context(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return autocast to fp16 or bf16; for fp32, autocast off, whatever the caller has on."""
    return torch.autocast(device.type, dtype=DTYPES.get(precision), enabled=precision != "fp32")


class Keeper(Protocol):
    """Keeps the state of a long computation, so that a job that is cut off can go on."""

    def read(self) -> Any | None:
        """Return the state to go on from; None to start anew."""

    def due(self) -> bool:
        """Return whether the state should be kept now: it is long since the last time, or the job is to stop."""

    def write(self, state: Any) -> None:
        """Keep ``state``; raise StoppedError if the job is to stop."""


class KeepNothing:
    """A Keeper for computations that may as well start anew."""

    def read(self) -> None:
        """Return None."""

    def due(self) -> bool:
        """Return False."""
        return False

    def write(self, state: Any) -> None:
        """Do nothing."""


KEEP_NOTHING = KeepNothing()


def slug(name: str) -> str:
    """Return a name as a folder or an identifier, e.g. a device as ``nvidia-h200``."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def track(items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
    """Yield from ``items`` with a progress bar on a terminal, and with a log line now and then elsewhere."""
    if sys.stderr.isatty() and not logger.handlers:
        from tqdm import tqdm

        yield from tqdm(items, desc=label, total=total, dynamic_ncols=True)
        return
    start = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if done == total or now - last >= SECONDS_BETWEEN_LINES:
            logger.info("%s: %d of %d, %.0f s", label, done, total, now - start)
            last = now


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


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all it was given, so that a clock read next is true."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
