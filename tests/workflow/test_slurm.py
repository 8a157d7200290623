"""The small grid on a real Slurm of one node; its two GPUs are character devices, so that jobs compute on the CPU."""

import copy
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.workflow import slurm as cluster
from tests.workflow.conftest import SMALL, copy_project, read_record, write_config
from tests.workflow.test_run import CELL

pytestmark = [
    pytest.mark.xdist_group("slurm"),
    pytest.mark.skipif(not cluster.installed(), reason="needs Slurm's programs, and root to start them"),
]
PROFILE = ["--workflow-profile", "profiles/slurm", "--configfile", "run.yaml"]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with cluster.slurm(tmp_path_factory.mktemp("slurm")) as folder:
        yield folder


def _snakemake(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "snakemake", *arguments, *PROFILE]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _finish(process: "subprocess.Popen[str]") -> str:
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return said


def _config(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(SMALL) | {"machine": {"device": "auto", "seconds_between_states": 1}} | changes


def test_the_grid_runs_on_a_cluster_each_job_on_a_gpu_of_its_own(slurm: Path, tmp_path: Path) -> None:
    folder = copy_project(tmp_path)
    write_config(folder, _config())
    # 300 MB are too few for torch: the first job is killed, and submitted again with more.
    said = _finish(_snakemake(folder, "--set-resources", "trace:mem_mb=300*6**(attempt-1)"))
    assert "Trying to restart job" in said
    assert read_record(folder, f"evaluate/{CELL}/hap/qat8")["values"]["accuracy"]["value"] >= 0
    assert (folder / "results/small/tables/summary.json").exists()
    gpus = {}
    for method in ("hap", "random"):
        log = (folder / f"logs/small/finetune/{CELL}/{method}.log").read_text()
        times = [line.split()[0] for line in log.splitlines()]
        found = re.search(r"the scheduler has given this job the GPU (\d)", log)
        assert found is not None, log
        gpus[method] = (times[0], times[-1], found.group(1))
    first, second = sorted(gpus.values())
    assert second[0] > first[1] or first[2] != second[2]  # one after the other, or on different GPUs
    # Short steps ride in the job of a longer one: prepare, dense, trace, two of shrink, recover and quantize each,
    # and the attempt that was killed.
    assert len(list((folder / ".snakemake/slurm_logs").rglob("*.log"))) <= 10
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--dry-run", "--configfile", "run.yaml"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Nothing to be done" in done.stdout + done.stderr


def test_what_is_cancelled_or_over_its_time_goes_on_from_its_state(slurm: Path, tmp_path: Path) -> None:
    folder = copy_project(tmp_path)
    long = {"epochs": 260, "learning_rate": 0.01, "batch_size": 16}
    write_config(folder, _config(pretrain={"all": long}))
    target = f"results/small/pretrain/{CELL}/record.json"
    log = folder / f"logs/small/pretrain/{CELL}.log"
    options = [target, "--set-resources", "pretrain:runtime=1", "pretrain:mem_mb=1500"]
    process = _snakemake(folder, *options)
    _wait_for(log, r"epoch 3:")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    _wait_until_idle()
    states = list((folder / "state").rglob("*.pt"))
    assert states
    said = _finish(_snakemake(folder, *options))
    history = (folder / f"results/small/pretrain/{CELL}/history.csv").read_text().splitlines()
    assert len(history) == 261
    assert "going on after epoch" in log.read_text()
    assert json.loads((folder / target).read_text())["values"]["seconds"]["value"] > 60
    assert "Trying to restart job" in said  # one minute was not enough


def _wait_for(log: Path, pattern: str) -> None:
    for _ in range(600):
        if log.exists() and re.search(pattern, log.read_text()):
            return
        time.sleep(0.2)
    raise AssertionError(f"{log} never said {pattern}")


def _wait_until_idle() -> None:
    for _ in range(300):
        if not subprocess.run(["squeue", "-h"], capture_output=True, text=True, check=True).stdout.strip():
            return
        time.sleep(0.2)
    raise AssertionError("jobs are left over")
