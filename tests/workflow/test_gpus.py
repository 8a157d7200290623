"""Shares of GPUs, kept by real processes that are really killed."""

import ast
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ehap.workflow.gpus import gpu_share, local_gpus, reserved

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


def test_a_gpu_that_a_scheduler_gave_is_taken_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert local_gpus() == ["3"]
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert local_gpus() == []
    caplog.set_level("INFO")
    with gpu_share(50):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    assert "the scheduler has given this job the GPU 3" in caplog.text


def test_gpus_are_counted_without_their_mig_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf 'GPU 0: A\\n  MIG 1g.5gb Device 0: (UUID)\\nGPU 1: B\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
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
        if "logged" not in path.read_text():
            continue  # it takes no share of a GPU
        imports = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ImportFrom)]
        assert not [node.module for node in imports if str(node.module).startswith("ehap.stages")], path
    check = "import ehap.workflow.script, ehap.settings, sys; assert 'torchao' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_a_job_sees_only_its_own_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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
