"""Shares of GPUs, kept by real processes that are really killed."""

import ast
import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from ehap.errors import WriteError
from ehap.workflow.gpus import SCHEDULERS, gpu_share, local_gpus, reserved

HOLD = """
import sys, time
from pathlib import Path
from ehap.workflow.gpus import reserved
percent, gpus, folder = int(sys.argv[1]), sys.argv[2].split(","), Path(sys.argv[3])
with reserved(percent, gpus, folder) as gpu:
    print(gpu, flush=True)
    time.sleep(600)
"""


Job = subprocess.Popen[str]
Hold = Callable[[int, str], Job]
Driver = Callable[..., None]


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Hold]:
    """Start a process that keeps a share of one of some GPUs until it is killed."""
    jobs = []

    def start(percent: int, gpus: str) -> Job:
        command = [sys.executable, "-c", HOLD, str(percent), gpus, str(tmp_path)]
        jobs.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return jobs[-1]

    yield start
    for job in jobs:
        job.kill()
        job.communicate()


def _gpu_of(job: Job) -> str:
    assert job.stdout is not None
    return job.stdout.readline().strip()


def test_jobs_fill_one_gpu_before_the_next_and_a_killed_job_gives_its_share_back(hold: Hold) -> None:
    taken = [(job, _gpu_of(job)) for job in (hold(50, "0,1") for _ in range(3))]
    assert [gpu for _, gpu in taken] == ["0", "0", "1"]
    waiting = hold(100, "0,1")  # no GPU is whole
    time.sleep(1)
    assert waiting.poll() is None
    taken[2][0].send_signal(signal.SIGKILL)  # the only job on GPU 1
    assert _gpu_of(waiting) == "1"


def test_shares_add_up_to_a_whole_gpu_and_no_more(hold: Hold) -> None:
    jobs = [hold(33, "0") for _ in range(3)]
    assert [_gpu_of(job) for job in jobs] == ["0", "0", "0"]
    fourth = hold(33, "0")
    time.sleep(1)
    assert fourth.poll() is None
    jobs[0].kill()
    assert _gpu_of(fourth) == "0"


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """A function that gives this machine a driver that lists some GPUs; at first it has none."""
    for name in SCHEDULERS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    def put(lines: str, code: int = 0) -> None:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '{lines}'\nexit {code}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)

    return put


LISTS = [
    ("", []),
    ("-1", []),
    ("NoDevFiles", []),
    ("none", []),
    ("void", []),
    (",0", []),
    ("0,-1,1", ["0"]),
    ("0, 1", ["0", "1"]),
    (" 1 ,0 ", ["1", "0"]),
    ("1,,0", ["1"]),
    ("0,1,0", []),
    ("0,00", []),
    ("01", ["1"]),
    ("1,none", ["1"]),
    ("0,GPU-a", ["0"]),
    ("1st,0", ["1", "0"]),
    ("GPU-aa,GPU-ab", ["GPU-aa", "GPU-ab"]),
    ("GPU-aa,-1,GPU-ab", ["GPU-aa"]),
    ("GPU-aa,GPU-aa", []),
    ("MIG-c,GPU-a", ["MIG-c"]),
]
"""CUDA_VISIBLE_DEVICES, and what it leaves."""


@pytest.mark.parametrize(("visible", "left"), LISTS)
def test_what_is_hidden_stays_hidden(
    smi: Driver, monkeypatch: pytest.MonkeyPatch, visible: str, left: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert local_gpus() == left
    assert [str(name) for name in torch.cuda._parse_visible_devices()] == left
    smi(r"GPU 0: A (UUID: GPU-aa-1)\nGPU 1: B (UUID: GPU-ab-1)\n  MIG 1g.5gb Device 0: (UUID: MIG-c)\n")
    assert local_gpus() == [f"{name}-1" if name.startswith("GPU") else name for name in left]
    smi("No devices were found", 6)  # in a container with NVIDIA_VISIBLE_DEVICES=none
    assert local_gpus() == []


@pytest.mark.parametrize(
    ("visible", "left"),
    [
        ("0,2,1", ["0"]),
        ("2", []),
        ("GPU-a", []),
        ("GPU-ab,GPU-c,GPU-aa", ["GPU-ab-1"]),
        ("GPU-aa,GPU-aa-", []),
        ("MIG-d,MIG-c", []),
    ],
)
def test_a_gpu_that_is_not_there_hides_itself_and_all_behind_it(
    smi: Driver, monkeypatch: pytest.MonkeyPatch, visible: str, left: list[str]
) -> None:
    smi(r"GPU 0: A (UUID: GPU-aa-1)\nGPU 1: B (UUID: GPU-ab-1)\n  MIG 1g.5gb Device 0: (UUID: MIG-c)\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert local_gpus() == left


@pytest.mark.parametrize("given", ["void", "none", "all", ""])
def test_in_a_container_the_driver_says_which_gpus_there_are(
    smi: Driver, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("NVIDIA_VISIBLE_DEVICES", given)
    assert local_gpus() == []  # without a driver
    smi("No devices were found", 6)
    assert local_gpus() == []
    smi(r"GPU 0: A (UUID: GPU-aa-1)\n")  # CDI gives GPUs and sets void
    assert local_gpus() == ["0"]


def test_a_job_of_a_scheduler_without_gpus_is_not_said_to_have_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "NoDevFiles")
    caplog.set_level("INFO")
    with gpu_share(50):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "NoDevFiles"
    assert not caplog.messages


def test_a_slice_whose_name_holds_a_slash_is_shared_as_well(tmp_path: Path) -> None:
    with reserved(50, ["MIG-GPU-aa/1/0"], tmp_path) as gpu:
        assert gpu == "MIG-GPU-aa/1/0"


def test_without_locks_a_share_is_taken_and_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)  # no such file system can be mounted here
    with reserved(50, ["0", "1"], tmp_path) as gpu:
        assert gpu == "0"
    (line,) = caplog.messages
    assert "no locks on this file system (No locks available); nothing keeps away more jobs on a GPU than it" in line


def test_a_folder_for_locks_that_cannot_be_made_is_named() -> None:
    folder = Path("/sys/kernel/ehap-gpus-0")
    with pytest.raises(WriteError, match=f"{folder}: it cannot be written"), reserved(50, ["0"], folder):
        pass


def test_a_gpu_that_a_scheduler_gave_is_taken_as_it_is(
    smi: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert local_gpus() == ["3"]
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert local_gpus() == []
    caplog.set_level("INFO")
    with gpu_share(50):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    assert "the scheduler has given this job the GPU 3" in caplog.text


def test_gpus_are_counted_without_their_mig_slices(smi: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    smi(r"GPU 0: A\n  MIG 1g.5gb Device 0: (UUID)\nGPU 1: B\n")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert local_gpus() == ["0", "1"]


def test_the_fullest_gpu_with_room_is_taken(hold: Hold) -> None:
    first, second, third = hold(30, "0"), hold(60, "1"), hold(60, "2")
    assert [_gpu_of(job) for job in (first, second, third)] == ["0", "1", "2"]
    third.kill()
    third.wait()
    assert _gpu_of(hold(40, "0,1,2")) == "1"


def test_no_script_imports_a_stage_before_its_gpu_is_settled() -> None:
    """A stage may import what starts CUDA; from then on a process sees the GPUs that it saw."""
    for path in (Path(__file__).parents[2] / "workflow_scripts").glob("*.py"):
        if "workflow.runner" not in path.read_text():
            continue  # it takes no share of a GPU
        imports = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ImportFrom)]
        assert not [node.module for node in imports if str(node.module).startswith("ehap.stages")], path
    check = "import ehap.workflow.runner, ehap.settings, sys; assert 'torchao' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_a_job_sees_only_its_own_gpu(smi: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,3")
    with gpu_share(100):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
        with reserved(1, ["1", "3"], tmp_path / f"ehap-gpus-{os.getuid()}") as other:
            assert other == "3"


def test_a_share_of_nothing_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,3")
    with gpu_share(0):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "1,3"
