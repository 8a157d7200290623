"""A training job that is really killed goes on where it was, to the very same bytes."""

import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ehap.records import Job, write_tensors
from ehap.settings import Pretrain
from ehap.stages.resume import Resume
from ehap.training import State

ROOT = Path(__file__).parents[2]
SETTINGS = Pretrain(epochs=4, learning_rate=0.05, batch_size=16)
JOB = Job(stage="pretrain", dataset="digits", model="resnet20", seed=1)


def _state(epochs: int) -> State:
    history = [{"epoch": float(number)} for number in range(epochs)]
    return State(model={}, optimizer={}, schedule={}, generator=torch.zeros(2), history=history)


def _command(folder: Path, data: Path) -> list[str]:
    """The pretrain script on a few images, its outputs and states in ``folder``."""
    files = {"--checkpoint": "model.safetensors", "--history": "history.csv", "--record": "record.json", "--log": "log"}
    named = [item for flag, name in files.items() for item in (flag, str(folder / name))]
    cell = ["--dataset", "digits", "--model", "resnet20", "--seed", "1", "--states", str(folder / "states")]
    settings = ["--settings", '{"epochs": 4, "learning_rate": 0.05, "batch_size": 16}']
    return [sys.executable, str(ROOT / "workflow_scripts/pretrain.py"), "--data", str(data), *named, *cell, *settings]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for split, count in (("train", 64), ("test", 16)):
        tensors[f"{split}_images"] = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
        tensors[f"{split}_labels"] = torch.randint(10, (count,), generator=generator)
    write_tensors(tmp_path / "data.safetensors", tensors, {"dataset": "digits"})
    return tmp_path / "data.safetensors"


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_job_goes_on_to_the_same_bytes(data: Path, tmp_path: Path, stop: signal.Signals) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(_command(whole, data), check=True)
    state = broken / "states/pretrain/digits/resnet20/seed1/state.pt"
    job = subprocess.Popen(_command(broken, data))
    while not state.exists() and job.poll() is None:
        time.sleep(0.01)
    job.send_signal(stop)
    assert job.wait() == -stop
    assert not (broken / "model.safetensors").exists()
    subprocess.run(_command(broken, data), check=True)
    assert "going on after epoch" in (broken / "log").read_text()
    assert (whole / "model.safetensors").read_bytes() == (broken / "model.safetensors").read_bytes()
    assert len((broken / "history.csv").read_text().splitlines()) == 5
    assert not list((broken / "states").rglob("*.pt"))


def test_the_newest_whole_state_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    resume = Resume(tmp_path, JOB, SETTINGS)
    resume.write(_state(1))
    resume.write(_state(2))
    found = resume.read()
    assert found is not None
    assert len(found["history"]) == 2
    newest = next(tmp_path.rglob("state.pt"))
    newest.write_bytes(newest.read_bytes()[:-50])
    with caplog.at_level(logging.WARNING, "ehap"):
        found = resume.read()
    assert found is not None
    assert len(found["history"]) == 1
    assert "is damaged" in caplog.text
    resume.remove()
    assert resume.read() is None


@pytest.mark.parametrize(
    ("job", "settings"),
    [
        (JOB, Pretrain(epochs=4, learning_rate=0.06, batch_size=16)),
        (Job(stage="pretrain", dataset="digits", model="resnet20", seed=1, code="edited"), SETTINGS),
    ],
)
def test_a_state_of_other_settings_or_code_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, job: Job, settings: Pretrain
) -> None:
    Resume(tmp_path, JOB, SETTINGS).write(_state(1))
    with caplog.at_level(logging.WARNING, "ehap"):
        assert Resume(tmp_path, job, settings).read() is None
    assert "is of other settings or other code; it is not used" in caplog.text


def test_a_state_that_cannot_be_written_is_said_and_training_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "pretrain").write_text("a file where a folder should be")
    with caplog.at_level(logging.WARNING, "ehap"):
        Resume(tmp_path, JOB, SETTINGS).write(_state(1))
    assert "state not saved" in caplog.text


def test_without_a_folder_no_state_is_kept(tmp_path: Path) -> None:
    resume = Resume(None, JOB, SETTINGS)
    resume.write(_state(1))
    assert resume.read() is None
    resume.remove()
