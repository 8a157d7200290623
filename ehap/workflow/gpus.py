"""Shares of the GPUs of one machine: several jobs side by side on each, without a scheduler.

Each GPU has a number of slots, and each slot is a file that a job locks; the system frees the locks of a job that
ends, however it ends.
"""

import logging
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ehap.runtime.files import locked, writing

logger = logging.getLogger("ehap")
SLOTS = 100
SCHEDULERS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID", "KUBERNETES_SERVICE_HOST")
VISIBLE = "CUDA_VISIBLE_DEVICES"
UUID = re.compile(r"UUID: ([\w/-]+)")
INDEX = re.compile(r"\s*\+?([0-9]+)")  # behind it anything may stand
SECONDS_BETWEEN_TRIES = 0.5
OTHERS = "more jobs on a GPU than it has room for"


@contextmanager
def gpu_share(percent: int) -> Iterator[None]:
    """Keep a share of one GPU while the block runs, and let CUDA see only that one; wait where all are taken.

    Nothing happens where there is no GPU, for a share of zero, or where a scheduler has given this job its GPU.

    Args:
        percent: Share of one GPU, 0 to 100.
    """
    gpus = local_gpus() if percent else []
    if _scheduled() and _asked(os.environ.get(VISIBLE, "")):
        logger.info("the scheduler has given this job the GPU %s", os.environ[VISIBLE])
    if not gpus:
        yield
        return
    folder = Path(tempfile.gettempdir()) / f"ehap-gpus-{os.getuid()}"
    with reserved(percent, gpus, folder) as gpu:
        os.environ[VISIBLE] = gpu
        logger.info("computing on GPU %s; this job takes %d %% of it", gpu, percent)
        yield


def local_gpus() -> list[str]:
    """Return the GPUs that jobs of this machine share; none where a scheduler gives each job its own.

    CUDA_VISIBLE_DEVICES may hide some or all GPUs that the driver lists. In a container the driver lists the
    container's GPUs. NVIDIA_VISIBLE_DEVICES does not help: with CDI it is void although there are GPUs.
    """
    if _scheduled():
        return []
    listed = None
    if shutil.which("nvidia-smi") is not None:
        command = ["nvidia-smi", "-L"]
        listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    present = [line for line in listed or () if line.startswith("GPU ")]  # lines of MIG devices are indented
    if VISIBLE not in os.environ:
        return [str(index) for index in range(len(present))]
    asked = _asked(os.environ[VISIBLE])
    if listed is None:
        return asked
    uuids = [found[1] for line in listed if (found := UUID.search(line))]
    shown: list[str] = []
    for name in asked:  # an invalid one hides itself and all after it
        fitting = [uuid for uuid in uuids if uuid.startswith(name)]
        if name.isdecimal():
            fitting = [name] if int(name) < len(present) else []
        if len(fitting) != 1:
            break
        shown += fitting
    return shown if len(set(shown)) == len(shown) else []


def _asked(visible: str) -> list[str]:
    """Return the indices or UUIDs at the beginning of CUDA_VISIBLE_DEVICES that are valid, as CUDA and torch read it.

    The first name that is none ends the list (-1, NoDevFiles); one that stands twice makes it empty.
    """
    names = visible.split(",")
    kind = next((kind for kind in ("GPU-", "MIG-") if visible.startswith(kind)), None)
    found: list[str] = []
    for name in names:
        index = INDEX.match(name)
        if not (index if kind is None else name.startswith(kind)):
            break
        found.append(str(int(index[1])) if index else name)
    return found if len(set(found)) == len(found) else []


def _scheduled() -> bool:
    return any(name in os.environ for name in SCHEDULERS)


@contextmanager
def reserved(percent: int, gpus: Sequence[str], folder: Path) -> Iterator[str]:
    """Lock a share of one of ``gpus`` and say which; the fullest that still has room, so that whole ones stay free."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    wanted = -(-percent * SLOTS // 100)
    waiting = False
    while True:
        with (folder / "choice.lock").open("w") as choice:
            locked(choice, wait=True, against=OTHERS)  # one job chooses at a time, so that none takes half of its share
            free = {gpu: _free_slots(folder, gpu) for gpu in gpus}
            fitting = [gpu for gpu in gpus if free[gpu] >= wanted]
            if fitting:
                gpu = min(fitting, key=lambda name: free[name])
                kept = _lock_free(folder, gpu, wanted)
                break
        if not waiting:
            logger.info("waiting for %d %% of a GPU", percent)
            waiting = True
        time.sleep(SECONDS_BETWEEN_TRIES)
    try:
        yield gpu
    finally:
        for slot in kept:
            slot.close()


def _free_slots(folder: Path, gpu: str) -> int:
    """Return how many slots of a GPU are free."""
    locked = _lock_free(folder, gpu, SLOTS)
    for slot in locked:
        slot.close()
    return len(locked)


def _lock_free(folder: Path, gpu: str, most: int) -> list[IO[str]]:
    """Lock up to ``most`` free slots of a GPU; they are free again when their files are closed."""
    free: list[IO[str]] = []
    for number in range(SLOTS):
        if len(free) == most:
            break
        path = folder / f"gpu{gpu.replace('/', '_')}.{number}.lock"  # names of MIG devices may hold a slash
        with writing(path):
            slot = path.open("w")
        if locked(slot, wait=False, against=OTHERS):
            free.append(slot)
        else:
            slot.close()
    return free
