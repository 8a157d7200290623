"""Jobs that wait in the queue of a real Slurm of one node while somebody edits, kills and submits again."""

import copy
import subprocess
from pathlib import Path

import pytest

from tests.workflow.cluster_runs import HANGS, SAID, copied_with_environment, runs, said, wait_for
from tests.workflow.conftest import SMALL, planned, snakemake_in, write_config
from tests.workflow.slurm import missing, slurm
from tests.workflow.test_run import CELL

DATA = "results/small/prepare/digits/data.safetensors"
RECORD = f"results/small/pretrain/{CELL}/record.json"
LOG = f"logs/small/pretrain/{CELL}.log"


@pytest.mark.minutes
@pytest.mark.services
@pytest.mark.skipif(bool(missing()), reason=missing())
def test_a_job_does_what_it_was_submitted_for_and_an_older_one_gives_way(tmp_path: Path) -> None:
    """One test, so that there is one Slurm."""
    (tmp_path / "slurm").mkdir()
    edited, killed = (copied_with_environment(tmp_path / name) for name in ("edited", "killed"))
    for folder in (edited, killed):
        write_config(folder, _config(epochs=1))
        assert snakemake_in(folder, DATA).returncode == 0
    with slurm(tmp_path / "slurm", cpus=4), runs() as start:
        _partition("DOWN")  # jobs wait
        waiting, first = start(edited, RECORD), start(killed, RECORD)
        wait_for(lambda: _queued() == 2)
        write_config(edited, _config(epochs=2))
        first.kill()
        first.wait(HANGS)
        assert snakemake_in(killed, "--unlock").returncode == 0
        second = start(killed, RECORD)
        wait_for(lambda: _queued() == 3)
        _partition("UP")
        assert waiting.wait(HANGS) != 0
        assert second.wait(HANGS) == 0, (killed / SAID).read_text()
        wait_for(lambda: _queued() == 0)

    # The configuration was edited while the job waited: it has not computed what nobody has submitted.
    assert said(edited / LOG, "error: .* edited since this job was submitted; nothing was computed")
    assert not (edited / RECORD).exists()
    write_config(edited, _config(epochs=1))
    done = snakemake_in(edited, RECORD)
    assert done.returncode == 0, done.stderr
    assert planned(edited, RECORD) == {}

    # Snakemake was killed and started again while its job waited: of two jobs for one output one has run.
    said_by_slurm = [path.read_text() for path in (killed / ".snakemake/slurm_logs").rglob("*.log")]
    assert sum("a later run of Snakemake has taken this job over" in text for text in said_by_slurm) == 1
    assert said(killed / LOG, "done")
    assert planned(killed, RECORD) == {}


def _config(epochs: int) -> dict[str, object]:
    training = {"all": {"epochs": epochs, "learning_rate": 0.05, "batch_size": 16}}
    return copy.deepcopy(SMALL) | {"machine": {"device": "auto"}, "pretrain": training}


def _partition(state: str) -> None:
    subprocess.run(["scontrol", "update", "PartitionName=gpu", f"State={state}"], check=True)


def _queued() -> int:
    """Return how many jobs wait or run."""
    done = subprocess.run(["squeue", "-h"], capture_output=True, text=True, check=True)
    return len(done.stdout.splitlines())
