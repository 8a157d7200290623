"""A training job that is really killed goes on where it was, to the very same bytes."""

import contextlib
import json
import logging
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ehap.artifacts.dense import architecture, load_dense, save_model
from ehap.artifacts.job_checkpoint import JobCheckpoint
from ehap.errors import BusyError
from ehap.graph.layers import layer_weights
from ehap.pruning import prune
from ehap.records import Job
from ehap.settings import Pretrain
from tests.stages.conftest import write_images

ROOT = Path(__file__).parents[2]
SETTINGS = Pretrain(epochs=4, learning_rate=0.05, batch_size=16)
JOB = Job(stage="pretrain", dataset="digits", model="resnet20", seed=1)


FILES = {
    "pretrain": ("checkpoint", "history", "record"),
    "trace": ("traces", "record"),
    "reconstruct": ("checkpoint", "history", "record"),
}
RESULT = {"pretrain": "checkpoint", "trace": "traces", "reconstruct": "checkpoint"}


def _state(number: int) -> dict[str, int]:
    return {"number": number}


def _command(stage: str, folder: Path, inputs: dict[str, Path], every: float = 0) -> list[str]:
    """A stage's script on a few images, its outputs and states in ``folder``."""
    settings = {
        "pretrain": {"epochs": 3, "learning_rate": 0.05, "batch_size": 16},
        "trace": {"batch_size": 32, "samples": 12, "micro_batch": 16},
        "reconstruct": {"images": 48, "distill_steps": 150, "batch_size": 16},
    }[stage]
    folder.mkdir(exist_ok=True)
    files = inputs | {name: folder / name for name in FILES[stage]} | {"log": folder / "log"}
    named = [item for name, path in files.items() for item in (f"--{name}", str(path))]
    cell = ["--dataset", "digits", "--model", "resnet20", "--seed", "1", "--states", str(folder / "states")]
    machine = ["--machine", json.dumps({"device": "cpu", "seconds_between_states": every})]
    script = str(ROOT / f"workflow_scripts/{stage}.py")
    return [sys.executable, script, *named, *cell, *machine, "--settings", json.dumps(settings)]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A dataset of a few images, and a trained network."""
    folder = tmp_path_factory.mktemp("inputs")
    write_images(folder / "data.safetensors", 120, 16)
    return {"data": folder / "data.safetensors"}


@pytest.fixture(scope="module")
def whole(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All stages, run without a break, each in its folder."""
    folder = tmp_path_factory.mktemp("whole")
    subprocess.run(_command("pretrain", folder / "pretrain", inputs), check=True)
    dense = load_dense(folder / "pretrain/checkpoint", JOB)
    kept = {
        name: list(range(0, len(weight), 2 if "conv" in name else 1)) for name, weight in layer_weights(dense).items()
    }
    save_model(folder / "pruned", prune(dense, kept), architecture(JOB, kept))
    for stage in ("trace", "reconstruct"):
        subprocess.run(_command(stage, folder / stage, inputs | _starts(stage, folder)), check=True)
    return folder


def _starts(stage: str, whole: Path) -> dict[str, Path]:
    """The networks that a stage starts from, by the option that names them."""
    dense = whole / "pretrain/checkpoint"
    return {
        "pretrain": {},
        "trace": {"checkpoint": dense},
        "reconstruct": {"teacher": dense, "pruned": whole / "pruned"},
    }[stage]


@pytest.mark.parametrize(
    ("stage", "stop"),
    [
        ("pretrain", signal.SIGKILL),
        ("pretrain", signal.SIGTERM),
        ("pretrain", signal.SIGINT),
        ("trace", signal.SIGKILL),
        ("trace", signal.SIGTERM),
        ("reconstruct", signal.SIGKILL),
        ("reconstruct", signal.SIGTERM),
    ],
)
def test_a_job_killed_at_any_moment_goes_on_to_the_same_bytes(
    inputs: dict[str, Path], whole: Path, tmp_path: Path, stage: str, stop: signal.Signals
) -> None:
    """Killed again and again, a moment after its state has moved on, until it gets through."""
    inputs, whole = inputs | _starts(stage, whole), whole / stage
    killed, log = 0, ""
    for moment in (0.05, 0.7, 3600.0):
        job = subprocess.Popen(_command(stage, tmp_path, inputs), stderr=subprocess.PIPE, text=True)
        _wait_for_progress(job, tmp_path, moment)
        job.send_signal(stop)
        _, said = job.communicate()
        log += (tmp_path / "log").read_text()
        if job.returncode == 0:
            break
        killed += 1
        assert job.returncode == (-stop if stop == signal.SIGKILL else 143), said
        assert stop == signal.SIGKILL or f"error: stopped by {stop.name}; its state is in" in said
        assert not (tmp_path / RESULT[stage]).exists()
    assert killed
    assert "going on after" in log
    assert (whole / RESULT[stage]).read_bytes() == (tmp_path / RESULT[stage]).read_bytes()
    assert not list((tmp_path / "states").rglob("*.pt"))
    if stage == "reconstruct":
        assert re.search(r"going on after [1-9]\d* fitted layers", log)
        before, after = (json.loads((folder / "record").read_text())["values"] for folder in (whole, tmp_path))
        same = set(before) - {"seconds", "reconstruct_time", "distill_time", "peak_memory"}
        assert {name: before[name] for name in same} == {name: after[name] for name in same}
        assert "reconstructed_accuracy" in same
        rows = (tmp_path / "history").read_text().splitlines()[1:]
        assert after["distill_time"]["value"] == pytest.approx(sum(float(row.rsplit(",", 1)[1]) for row in rows))
    if stage in ("pretrain", "reconstruct"):
        first, second = ((folder / "history").read_text().splitlines() for folder in (whole, tmp_path))
        assert [row.rsplit(",", 1)[0] for row in first] == [row.rsplit(",", 1)[0] for row in second]  # but for seconds


def _wait_for_progress(job: "subprocess.Popen[str]", folder: Path, moment: float) -> None:
    """Return when the job has kept a new state and ``moment`` seconds have gone, or when it has ended."""

    def newest() -> float:
        try:
            return max((path.stat().st_mtime_ns for path in (folder / "states").rglob("state.pt")), default=0)
        except FileNotFoundError:  # moved on or removed between the listing and the look at it
            return 0

    before = newest()
    while job.poll() is None and newest() == before:
        time.sleep(0.005)
    with contextlib.suppress(subprocess.TimeoutExpired):
        job.wait(moment)


def test_sigterm_saves_though_no_state_was_due(inputs: dict[str, Path], whole: Path, tmp_path: Path) -> None:
    job = subprocess.Popen(_command("pretrain", tmp_path, inputs, every=3600), stderr=subprocess.DEVNULL)
    _wait_for_progress(job, tmp_path, 0.05)  # a state after the first epoch, then into the second
    job.terminate()
    assert job.wait() == 143
    state = torch.load(next(tmp_path.rglob("state.pt")), weights_only=True)["state"]
    assert (len(state["history"]), state["batches"]) > (1, 0)
    subprocess.run(_command("pretrain", tmp_path, inputs, every=3600), check=True)
    assert (whole / "pretrain/checkpoint").read_bytes() == (tmp_path / "checkpoint").read_bytes()


def test_the_newest_whole_state_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    resume = JobCheckpoint(tmp_path, JOB, SETTINGS)
    resume.write(_state(1))
    resume.write(_state(2))
    assert resume.read() == _state(2)
    newest = next(tmp_path.rglob("state.pt"))
    newest.write_bytes(newest.read_bytes()[:-50])
    with caplog.at_level(logging.WARNING, "ehap"):
        assert JobCheckpoint(tmp_path, JOB, SETTINGS).read() == _state(1)
    assert "is damaged" in caplog.text
    resume.remove()
    assert resume.read() is None


def test_a_damaged_state_never_takes_the_place_of_the_good_one_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = JobCheckpoint(tmp_path, JOB, SETTINGS)
    first.write(_state(1))
    first.write(_state(2))
    newest = next(tmp_path.rglob("state.pt"))
    newest.write_bytes(b"cut off")
    second = JobCheckpoint(tmp_path, JOB, SETTINGS)
    assert second.read() == _state(1)
    second.write(_state(3))
    newest.write_bytes(b"cut off")
    assert JobCheckpoint(tmp_path, JOB, SETTINGS).read() == _state(1)
    full = JobCheckpoint(tmp_path, JOB, SETTINGS)
    assert full.read() == _state(1)

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ehap.artifacts.job_checkpoint.write_atomically", no_space)
    full.write(_state(4))
    assert JobCheckpoint(tmp_path, JOB, SETTINGS).read() == _state(1)


def test_a_state_is_due_after_its_time_and_not_before(tmp_path: Path) -> None:
    assert not JobCheckpoint(tmp_path, JOB, SETTINGS, seconds=3600).due()
    resume = JobCheckpoint(tmp_path, JOB, SETTINGS, seconds=0)
    assert resume.due()
    resume.write(_state(1))
    assert resume.due()


def test_a_state_of_other_inputs_or_another_device_is_not_used(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_text("one")
    JobCheckpoint(tmp_path, JOB, SETTINGS, [data]).write(_state(1))
    assert JobCheckpoint(tmp_path, JOB, SETTINGS, [data]).read() == _state(1)
    data.write_text("two")
    assert JobCheckpoint(tmp_path, JOB, SETTINGS, [data]).read() is None


def test_a_state_of_a_job_that_has_found_something_else_is_not_used(tmp_path: Path) -> None:
    JobCheckpoint(tmp_path, JOB, SETTINGS, found={"weight_bits.conv1": 4}).write(_state(1))
    assert JobCheckpoint(tmp_path, JOB, SETTINGS, found={"weight_bits.conv1": 8}).read() is None
    assert JobCheckpoint(tmp_path, JOB, SETTINGS, found={"weight_bits.conv1": 4}).read() == _state(1)


def test_one_process_at_a_time_works_on_a_job(tmp_path: Path) -> None:
    with (
        JobCheckpoint(tmp_path, JOB, SETTINGS).listening(),
        pytest.raises(BusyError, match="another process is at work on this job"),
        JobCheckpoint(tmp_path, JOB, SETTINGS).listening(),
    ):
        pass


def test_a_second_process_waits_for_the_first_and_takes_what_it_has_made(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    first = subprocess.Popen(_command("pretrain", tmp_path, inputs), stderr=subprocess.DEVNULL)
    _wait_for_progress(first, tmp_path, 0)
    first.send_signal(signal.SIGSTOP)
    second = subprocess.Popen(_command("pretrain", tmp_path, inputs), stderr=subprocess.DEVNULL)
    while "waiting until it has ended" not in (tmp_path / "log").read_text():  # a log of its own
        assert second.poll() is None
        time.sleep(0.05)
    first.send_signal(signal.SIGCONT)
    assert (first.wait(), second.wait()) == (0, 0)
    said = (tmp_path / "log").read_text()
    assert "an earlier job has made this already, from the same inputs, settings and code" in said
    assert "epoch" not in said


def test_a_second_sigterm_ends_a_job_at_once(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, time\n"
        "from pathlib import Path\n"
        "from tests.artifacts.test_job_checkpoint import JOB, SETTINGS\n"
        "from ehap.artifacts.job_checkpoint import JobCheckpoint\n"
        "with JobCheckpoint(Path(sys.argv[1]), JOB, SETTINGS).listening() as resume:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print(resume.due(), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(60)\n"
    )
    job = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, check=False)
    assert job.stdout == b"True\n"
    assert job.returncode == -signal.SIGTERM


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
    JobCheckpoint(tmp_path, JOB, SETTINGS).write(_state(1))
    with caplog.at_level(logging.WARNING, "ehap"):
        assert JobCheckpoint(tmp_path, job, settings).read() is None
    assert "is of other settings, inputs or code, or of another device; it is not used" in caplog.text


def test_a_state_that_cannot_be_written_is_said_and_training_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "pretrain").write_text("a file where a folder should be")
    with caplog.at_level(logging.WARNING, "ehap"), JobCheckpoint(tmp_path, JOB, SETTINGS).listening() as resume:
        resume.write(_state(1))
    assert "no state can be kept" in caplog.text
    assert "state not saved" in caplog.text


def test_without_a_folder_no_state_is_kept(tmp_path: Path) -> None:
    resume = JobCheckpoint(None, JOB, SETTINGS)
    resume.write(_state(1))
    assert resume.read() is None
    resume.remove()
