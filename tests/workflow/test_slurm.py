"""The small grid on a real Slurm of one node; its two GPUs are character devices, so that jobs compute on the CPU."""

import copy
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.workflow.cluster_runs import HANGS, copied_with_environment, runs, said, wait_for
from tests.workflow.conftest import SMALL, planned, write_config
from tests.workflow.slurm import jobs_done, missing, slurm
from tests.workflow.test_run import CELL

LOG = f"logs/small/pretrain/{CELL}.log"
DATA = "results/small/prepare/digits/data.safetensors"
EPOCHS = 20


@pytest.mark.minutes
@pytest.mark.services
@pytest.mark.skipif(bool(missing()), reason=missing())
def test_the_small_grid_on_a_cluster(tmp_path: Path) -> None:
    """One test, so that there is one Slurm; two runs in it side by side, because a time limit is at least a minute."""
    (tmp_path / "slurm").mkdir()
    grid, long = _project(tmp_path / "a user's grid"), _project(tmp_path / "a long run")
    record = f"results/small/pretrain/{CELL}/record.json"
    with slurm(tmp_path / "slurm", cpus=4), runs() as start:
        over_time = start(long, record, "--set-resources", "pretrain:runtime=60**(attempt-1)")
        cancelled = start(grid)
        gpus = {_pause_training(long), _pause_training(grid)}  # until they are ended, however fast this machine is
        assert gpus == {"0", "1"}
        cancelled.send_signal(signal.SIGINT)
        cancelled.wait(HANGS)
        wait_for(lambda: _states(tmp_path / "slurm", grid)["CANCELLED"] == 1)
        assert said(grid / LOG, "stopped by SIGTERM")
        assert not (grid / record).exists()
        prepared = (grid / DATA).stat().st_mtime_ns

        # 300 MB are too few for torch: the first attempt is killed, the second gets more.
        again = start(grid, "--set-resources", "trace:mem_mb=300*6**(attempt-1)")
        assert again.wait(HANGS) == 0, (grid / "said.txt").read_text()
        assert over_time.wait(HANGS) == 0, (long / "said.txt").read_text()
        done_in_grid, done_in_long = (_states(tmp_path / "slurm", folder) for folder in (grid, long))

    # It went on where it was cancelled: what was done before is the same file, and the training came from its state.
    assert planned(grid) == {}
    assert (grid / DATA).stat().st_mtime_ns == prepared
    assert said(grid / LOG, r"going on after epoch ([2-9]|1\d)")
    assert (grid / "results/small/tables/summary.json").exists()
    # Short steps ride in the job of a longer one: prepare, dense, trace, and two of shrink, recover and quantize each.
    assert done_in_grid == {"COMPLETED": 9, "CANCELLED": 1, "FAILED": 1}
    (killed,) = (grid / ".snakemake/slurm_logs/rule_trace").rglob("*.log")
    assert "Exceeded job memory limit" in killed.read_text()

    assert done_in_long == {"COMPLETED": 2, "TIMEOUT": 1}
    assert said(long / LOG, r"going on after epoch ([2-9]|1\d)")
    assert len((long / record).with_name("history.csv").read_text().splitlines()) == EPOCHS + 1


def _project(folder: Path) -> Path:
    copied_with_environment(folder)
    training = {"all": {"epochs": EPOCHS, "learning_rate": 0.01, "batch_size": 16}}
    changes = {"machine": {"device": "auto"}, "pretrain": training, "finetune": training}
    write_config(folder, copy.deepcopy(SMALL) | changes)
    return folder


def _pause_training(folder: Path) -> str:
    """Stop the training of a project in its third epoch, the state of the second being kept, and say which GPU it has.

    The signal that ends the job wakes it up.
    """
    wait_for(lambda: said(folder / LOG, "epoch 3:"))
    (process,) = (path for path in Path("/proc").glob("[0-9]*") if _trains(path, folder))
    os.kill(int(process.name), signal.SIGSTOP)
    environment = dict(part.split("=", 1) for part in (process / "environ").read_text().split("\0") if "=" in part)
    assert said(folder / LOG, f"the scheduler has given this job the GPU {environment['CUDA_VISIBLE_DEVICES']}")
    return environment["CUDA_VISIBLE_DEVICES"]


def _trains(process: Path, folder: Path) -> bool:
    try:
        _, script, *_ = (process / "cmdline").read_bytes().split(b"\0")
        return script.endswith(b"/pretrain.py") and (process / "cwd").resolve() == folder
    except (OSError, ValueError):  # it has just ended, or has no arguments
        return False


def _states(cluster: Path, folder: Path) -> Counter[str]:
    """Count how the Slurm jobs of a project ended."""
    return Counter(job["JobState"] for job in jobs_done(cluster) if job["WorkDir"] == str(folder))
