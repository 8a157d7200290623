"""A training job that is really killed goes on where it was, to the very same bytes."""

import contextlib
import json
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from ehap.artifacts.dense import architecture, load_dense, save_model
from ehap.graph.layers import layer_weights
from ehap.pruning import prune
from ehap.records import Identity
from tests.jobs import write_images
from tests.workflow.warm_python import warm_python

ROOT = Path(__file__).parents[2]
CELL = Identity(stage="pretrain", dataset="digits", model="resnet20", seed=1)


FILES = {
    "pretrain": ("checkpoint", "history", "record"),
    "trace": ("traces", "record"),
    "reconstruct": ("checkpoint", "history", "record"),
}
RESULT = {"pretrain": "checkpoint", "trace": "traces", "reconstruct": "checkpoint"}


def _command(stage: str, folder: Path, inputs: dict[str, Path], every: float = 0) -> list[str]:
    """A stage's script on a few images, its outputs and states in ``folder``."""
    settings = {
        "pretrain": {"epochs": 3, "learning_rate": 0.05, "batch_size": 16},
        "trace": {"batch_size": 32, "samples": 40, "micro_batch": 16},
        "reconstruct": {"images": 112, "distill_steps": 35, "batch_size": 16},
    }[stage]
    folder.mkdir(exist_ok=True)
    named = [item for name, path in inputs.items() for item in ("--input", f"{name}={path}")]
    named += [item for name in FILES[stage] for item in ("--output", f"{name}={folder / name}")]
    cell = ["--dataset", "digits", "--model", "resnet20", "--seed", "1", "--states", str(folder / "states")]
    cell += ["--log", str(folder / "log")]
    machine = ["--machine", json.dumps({"device": "cpu", "seconds_between_states": every})]
    script = str(ROOT / f"workflow_scripts/{stage}.py")
    return [warm_python(), script, *named, *cell, *machine, "--settings", json.dumps(settings)]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A dataset of a few images, and a trained network."""
    folder = tmp_path_factory.mktemp("inputs")
    write_images(folder / "data.safetensors", 320, 16)
    return {"data": folder / "data.safetensors"}


@pytest.fixture(scope="module")
def whole(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All stages, run without a break, each in its folder."""
    folder = tmp_path_factory.mktemp("whole")
    subprocess.run(_command("pretrain", folder / "pretrain", inputs), check=True)
    dense = load_dense(folder / "pretrain/checkpoint", CELL)
    kept = {
        name: list(range(0, len(weight), 2 if "conv" in name else 1)) for name, weight in layer_weights(dense).items()
    }
    save_model(folder / "pruned", prune(dense, kept), architecture(CELL, kept))
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
        ("pretrain", signal.SIGINT),
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
    for moment in (0.0, 0.03, 3600.0):
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
    while job.poll() is None and newest() <= before:  # at its end a job removes its states
        time.sleep(0.005)
    with contextlib.suppress(subprocess.TimeoutExpired):
        job.wait(moment)


def test_sigterm_saves_though_no_state_was_due(inputs: dict[str, Path], whole: Path, tmp_path: Path) -> None:
    job = subprocess.Popen(_command("pretrain", tmp_path, inputs, every=3600), stderr=subprocess.DEVNULL)
    _wait_for_progress(job, tmp_path, 0.02)  # a state after the first epoch, then into the second
    job.terminate()
    assert job.wait() == 143
    state = torch.load(next(tmp_path.rglob("state.pt")), weights_only=True)["state"]
    assert (len(state["history"]), state["batches"]) > (1, 0)
    subprocess.run(_command("pretrain", tmp_path, inputs, every=3600), check=True)
    assert (whole / "pretrain/checkpoint").read_bytes() == (tmp_path / "checkpoint").read_bytes()


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
