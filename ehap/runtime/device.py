"""The device of a job: choice, name, instruction sets and precision."""

import contextlib
import platform
import re
from contextlib import AbstractContextManager
from pathlib import Path

import torch

from ehap.errors import DeviceError
from ehap.settings.checks import Precision

INTEGER_SETS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm")
DTYPES: dict[Precision, torch.dtype] = {"fp16": torch.float16, "bf16": torch.bfloat16}


def choose_device(name: str, threads: int = 1) -> torch.device:
    """Return the torch device called ``auto``, ``cpu`` or ``cuda``, and set the number of CPU threads.

    Raises:
        DeviceError: ``cuda`` is requested, and there is no usable GPU.
    """
    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = False  # FP32 means FP32; on a GPU, convolutions round to 10 bits otherwise
    present = torch.cuda.is_available()
    if name == "cuda" and not present:
        raise DeviceError(
            "expected a GPU (device: cuda), but torch sees none on this machine; "
            "set machine.device to auto or cpu, or run on a machine with a GPU and its driver."
        )
    return torch.device("cuda" if present and name in ("auto", "cuda") else "cpu")


def device_name(device: torch.device) -> str:
    """Return the name of a device, e.g. ``NVIDIA H200`` or ``AMD EPYC 7B13 (CPU)``."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.split(':', 1)[1].strip()} (CPU)"
    return f"{platform.processor() or platform.machine()} (CPU)"


def instruction_sets() -> str:
    """Return those of INTEGER_SETS that this CPU has, e.g. ``avx2, avx512_vnni``; empty where the system does not say.

    Processors of one name may differ in them, and then run integers at very different speeds.
    """
    try:
        said = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return ""
    return ", ".join(name for name in INTEGER_SETS if name in said)


def precision_context(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return autocast to fp16 or bf16; for fp32 a context that switches autocast off."""
    return torch.autocast(device.type, dtype=DTYPES.get(precision), enabled=precision != "fp32")


def slug(name: str) -> str:
    """Return a name in the form of a folder or identifier, e.g. ``nvidia-h200``."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its work, so that a clock read next is right."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
