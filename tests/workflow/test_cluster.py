"""What is asked of a cluster, seen in the queue of a real Slurm of one node."""

import copy
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ehap.errors import SettingsError
from ehap.workflow.cluster import check_paths
from tests.workflow.cluster_runs import HANGS, SAID, copied_with_environment, runs, said, wait_for, with_environment
from tests.workflow.conftest import SMALL, snakemake_in, without_messages, write_config
from tests.workflow.slurm import missing, slurm
from tests.workflow.test_run import CELL

MORE = (os.cpu_count() or 1) + 1  # threads than this machine has
CONFIG = copy.deepcopy(SMALL) | {
    "grid": SMALL["grid"] | {"seeds": [0, 1]},
    "machine": {"device": "auto", "threads": MORE},
    "deploy": {},
    "latency": {"all": {"threads": MORE + 2, "rounds": 1}},
}


@pytest.mark.services
@pytest.mark.skipif(bool(missing()), reason=missing())
def test_what_a_cluster_is_asked_for_does_not_depend_on_the_machine_that_asks(project: Path, tmp_path: Path) -> None:
    write_config(with_environment(project), CONFIG)
    dense = [f"results/small/deploy/{CELL}/dense/{precision}.onnx" for precision in ("fp32", "int8")]
    assert snakemake_in(project, *dense).returncode == 0
    per_cent = copied_with_environment(tmp_path / "100 % of it")
    write_config(per_cent, CONFIG)
    (tmp_path / "slurm").mkdir()
    with slurm(tmp_path / "slurm", cpus=MORE + 20), runs() as start:
        subprocess.run(["scontrol", "update", "PartitionName=gpu", "State=DOWN"], check=True)  # jobs wait
        refused = start(per_cent)
        assert refused.wait(HANGS) == 1
        assert "no job of Slurm starts in a folder whose name holds '%'" in (per_cent / SAID).read_text()
        assert not _processors_asked_for()
        run = start(project, CUDA_VISIBLE_DEVICES="0")
        wait_for(lambda: len(_processors_asked_for()) == 3 or run.poll() is not None)
        asked = _processors_asked_for()
        run.send_signal(signal.SIGINT)
        run.wait(HANGS)
    # The new seed's pretrain, and for each method deploy with latency, whose calls take more threads than other jobs.
    assert asked == [MORE, MORE + 2, MORE + 2]
    # One GPU of the machine that asks does not make the cluster's jobs wait for each other.
    shares = re.search(r'Provided resources: .*"gpu_percent", (\d+)', (project / SAID).read_text())
    assert shares is not None
    assert int(shares[1]) > 100 * 200


@pytest.mark.minutes
@pytest.mark.services
@pytest.mark.skipif(bool(missing()), reason=missing())
def test_a_controller_that_does_not_answer_for_a_while_is_asked_again(tmp_path: Path) -> None:
    project = copied_with_environment(tmp_path / "a user's grid")
    write_config(project, SMALL)
    (tmp_path / "slurm").mkdir()
    with slurm(tmp_path / "slurm", cpus=4) as cluster, runs() as start:
        run = start(project, f"results/small/pretrain/{CELL}/record.json")
        wait_for(lambda: (project / "logs/small/prepare/digits.log").exists() or run.poll() is not None)
        controller = int((cluster / "slurmctld.pid").read_text())
        os.kill(controller, signal.SIGSTOP)
        try:
            wait_for(lambda: said(project / SAID, "Falling back to 'sacct'") or run.poll() is not None)
            time.sleep(2)  # sacct has answered by then that there is no database
        finally:
            os.kill(controller, signal.SIGCONT)
        assert run.wait(HANGS) == 0, (project / SAID).read_text()


def test_on_one_machine_nothing_runs_beside_what_is_timed(project: Path) -> None:
    write_config(project, CONFIG)
    without_messages(project)
    plan = snakemake_in(project, "--dry-run", "--cores", "7").stdout
    blocks = [block for block in plan.split("\nrule ") if block.startswith("latency:")]
    assert len(blocks) == 4
    assert all("threads: 7\n" in block for block in blocks)


@pytest.mark.parametrize("name", ["$HOME", "a`b", "back\\slash", "100 %"])
def test_a_folder_that_no_job_would_start_in_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(SettingsError, match="no job of Slurm starts in a folder whose name holds") as error:
        check_paths()
    assert str(folder) in str(error.value)
    allowed = tmp_path / "a user's folder"
    allowed.mkdir()
    monkeypatch.chdir(allowed)
    check_paths()


def _processors_asked_for() -> list[int]:
    """Return the number of processors that each job in the queue asks for."""
    listed = subprocess.run(["squeue", "-h", "-o", "%C"], capture_output=True, text=True, check=True).stdout
    return sorted(int(number) for number in listed.split())
