"""States of a job in their files: which one is used, and what becomes of damaged ones."""

import logging
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ehap.artifacts.job import Job
from ehap.artifacts.job_checkpoint import JobCheckpoint
from ehap.errors import BusyError
from ehap.records import Identity
from ehap.settings import Machine, Pretrain

ROOT = Path(__file__).parents[2]
SETTINGS = Pretrain(epochs=4, learning_rate=0.05, batch_size=16)
CELL = Identity(stage="pretrain", dataset="digits", model="resnet20", seed=1)


def _job(states: Path | None, seconds: float = 60.0) -> Job[Pretrain]:
    return Job(identity=CELL, settings=SETTINGS, machine=Machine(seconds_between_states=seconds), states=states)


def _state(number: int) -> dict[str, int]:
    return {"number": number}


def test_the_newest_whole_state_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    states = JobCheckpoint(_job(tmp_path))
    states.write(_state(1))
    states.write(_state(2))
    assert states.read() == _state(2)
    newest = next(tmp_path.rglob("state.pt"))
    newest.write_bytes(newest.read_bytes()[:-50])
    with caplog.at_level(logging.WARNING, "ehap"):
        assert JobCheckpoint(_job(tmp_path)).read() == _state(1)
    assert "is damaged" in caplog.text
    states.remove()
    assert states.read() is None


def test_a_damaged_state_never_takes_the_place_of_the_good_one_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = JobCheckpoint(_job(tmp_path))
    first.write(_state(1))
    first.write(_state(2))
    newest = next(tmp_path.rglob("state.pt"))
    newest.write_bytes(b"cut off")
    second = JobCheckpoint(_job(tmp_path))
    assert second.read() == _state(1)
    second.write(_state(3))
    newest.write_bytes(b"cut off")
    assert JobCheckpoint(_job(tmp_path)).read() == _state(1)
    full = JobCheckpoint(_job(tmp_path))
    assert full.read() == _state(1)

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ehap.artifacts.job_checkpoint.write_atomically", no_space)
    full.write(_state(4))
    assert JobCheckpoint(_job(tmp_path)).read() == _state(1)


def test_a_state_is_due_after_its_time_and_not_before(tmp_path: Path) -> None:
    assert not JobCheckpoint(_job(tmp_path, seconds=3600)).due()
    states = JobCheckpoint(_job(tmp_path, seconds=0))
    assert states.due()
    states.write(_state(1))
    assert states.due()


def test_a_state_of_other_inputs_or_another_device_is_not_used(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_text("one")
    job = replace(_job(tmp_path), inputs={"data": data, "parts": [data, data]})
    JobCheckpoint(job).write(_state(1))
    assert JobCheckpoint(job).read() == _state(1)
    assert JobCheckpoint(replace(job, inputs={"parts": [data, data], "data": data})).read() == _state(1)
    assert JobCheckpoint(replace(job, inputs={"data": data, "parts": [data]})).read() is None
    data.write_text("two")
    assert JobCheckpoint(job).read() is None


def test_a_state_of_a_job_that_has_found_something_else_is_not_used(tmp_path: Path) -> None:
    JobCheckpoint(_job(tmp_path), found={"weight_bits.conv1": 4}).write(_state(1))
    assert JobCheckpoint(_job(tmp_path), found={"weight_bits.conv1": 8}).read() is None
    assert JobCheckpoint(_job(tmp_path), found={"weight_bits.conv1": 4}).read() == _state(1)


def test_one_process_at_a_time_works_on_a_job(tmp_path: Path) -> None:
    with (
        JobCheckpoint(_job(tmp_path)).listening(),
        pytest.raises(BusyError, match="another process is at work on this job"),
        JobCheckpoint(_job(tmp_path)).listening(),
    ):
        pass


def test_a_second_sigterm_ends_a_job_at_once(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, time\n"
        "from pathlib import Path\n"
        "from tests.artifacts.test_job_checkpoint import _job\n"
        "from ehap.artifacts.job_checkpoint import JobCheckpoint\n"
        "with JobCheckpoint(_job(Path(sys.argv[1]))).listening() as states:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print(states.due(), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(60)\n"
    )
    job = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, check=False)
    assert job.stdout == b"True\n"
    assert job.returncode == -signal.SIGTERM


@pytest.mark.parametrize(
    "change",
    [
        {"settings": replace(SETTINGS, learning_rate=0.06)},
        {"identity": replace(CELL, code="edited")},
    ],
)
def test_a_state_of_other_settings_or_code_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: dict[str, Any]
) -> None:
    JobCheckpoint(_job(tmp_path)).write(_state(1))
    with caplog.at_level(logging.WARNING, "ehap"):
        assert JobCheckpoint(replace(_job(tmp_path), **change)).read() is None
    assert "is of other settings, inputs or code, or of another device; it is not used" in caplog.text


def test_a_state_that_cannot_be_written_is_said_and_training_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "pretrain").write_text("a file where a folder should be")
    with caplog.at_level(logging.WARNING, "ehap"), JobCheckpoint(_job(tmp_path)).listening() as states:
        states.write(_state(1))
    assert "no state can be kept" in caplog.text
    assert "state not saved" in caplog.text


def test_without_a_folder_no_state_is_kept(tmp_path: Path) -> None:
    states = JobCheckpoint(_job(None))
    states.write(_state(1))
    assert states.read() is None
    states.remove()
