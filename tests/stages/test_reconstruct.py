"""What the reconstruct stage refuses, and what it says of too few images."""

import contextlib
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from ehap.artifacts.dense import architecture, save_model
from ehap.artifacts.job_checkpoint import JobCheckpoint
from ehap.errors import CheckpointError, DataError, StoppedError
from ehap.graph.layers import layer_weights
from ehap.models import build_model
from ehap.pruning import prune
from ehap.records import Identity, read_tensors, write_tensors
from ehap.repair.unseen import split_images
from ehap.runtime.memory import PeakMemory
from ehap.settings import Machine, Reconstruct
from ehap.stages import reconstruct
from tests.jobs import job_of, recorded, write_images

CELL = Identity(stage="reconstruct", dataset="digits", model="resnet20", seed=0, method="half")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A few images, a dense network and one pruned to half its channels."""
    write_images(tmp_path / "data", 20, 20)
    dense = build_model("resnet20", 10, seed=0)
    kept = {
        name: list(range(0, len(weight), 2 if "conv" in name else 1)) for name, weight in layer_weights(dense).items()
    }
    save_model(tmp_path / "teacher", dense, architecture(CELL, None))
    save_model(tmp_path / "pruned", prune(dense, kept), architecture(CELL, kept))
    outputs = {name: tmp_path / f"new/{name}" for name in ("checkpoint", "history", "record")}
    (tmp_path / "new").mkdir()
    return {name: tmp_path / name for name in ("data", "teacher", "pruned")} | outputs


def _run(files: dict[str, Path], settings: Reconstruct, **further: Any) -> None:
    outputs = {name: files[name] for name in ("checkpoint", "history", "record")}
    inputs = {name: path for name, path in files.items() if name not in outputs}
    reconstruct.run(job_of(Path(), settings, CELL, inputs, outputs, **further))


def test_too_few_images_for_the_unknowns_are_said_in_the_log_and_in_the_record(
    files: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="ehap"):
        _run(files, Reconstruct(images=3, positions=20, distill_steps=0, held_out=0))
    assert "layers have fewer equations than unknowns" in caplog.text
    values = recorded(files["record"])
    assert values["underdetermined_layers"] > 10
    assert values["least_equations_per_unknown"] == pytest.approx(3 / 65)  # of the classifier
    assert values["seconds"] == values["reconstruct_time"] > 0
    assert "distilled_accuracy" not in values
    _run(files, Reconstruct(images=20, positions=0, distill_steps=0, held_out=0))
    values = recorded(files["record"])
    assert values["underdetermined_layers"] == 3  # of 4 × 4 positions, and the classifier
    assert values["least_equations_per_unknown"] == 20 / 65
    layers = "3 of 22 layers have fewer equations than unknowns (layer3.1.conv1, layer3.2.conv1, fc)"
    assert f"{layers}: only the ridge settles them" in caplog.text
    assert "layers have enough equations, but more unknowns than images (" in caplog.text
    assert values["least_images_per_unknown"] < 20 / 65  # positions of 20 images resemble each other


def _stopped_after(states: int, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Stop the first repair after so many states; return the list to which each state is added."""
    kept, written = JobCheckpoint.write, list[dict[str, object]]()

    def write(self: JobCheckpoint, state: dict[str, object]) -> None:
        kept(self, state)
        written.append(state)
        if len(written) == states:
            raise StoppedError("stopped by the test")

    monkeypatch.setattr(JobCheckpoint, "write", write)
    return written


@pytest.mark.parametrize("stop_after", [3, 25], ids=["while fitting", "while distilling"])
def test_peak_memory_is_that_of_all_parts_of_a_repair_that_was_cut_off(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    settings, machine = Reconstruct(images=20, distill_steps=3), Machine(device="cpu", seconds_between_states=0)
    written = _stopped_after(stop_after, monkeypatch)
    monkeypatch.setattr(PeakMemory, "so_far", lambda self: 7_000_000_000 if len(written) == stop_after - 1 else 1000)
    for _ in range(2):
        with contextlib.suppress(StoppedError):
            _run(files, settings, machine=machine, states=tmp_path / "states")
    assert ("fit" if stop_after == 3 else "distillation") in written[stop_after - 1]
    assert recorded(files["record"])["peak_memory"] == 7_000_000_000


def test_other_draws_and_seeds_see_other_images() -> None:
    images = torch.arange(1000)
    drawn = [
        reconstruct._drawn(images, Reconstruct(images=10, draw=draw), seed).tolist()
        for draw, seed in ((0, 0), (0, 1), (1, 0), (2, 0), (2, 1), (0, 0))
    ]
    assert drawn[0] == drawn[5]
    assert len({*map(tuple, drawn)}) == 5
    assert all(len(set(each)) == 10 for each in drawn)


def test_what_does_not_fit_is_refused_before_any_work(files: dict[str, Path]) -> None:
    with pytest.raises(DataError, match=r"reconstruct.images: expected at most the 20 training images, got 21"):
        _run(files, Reconstruct(images=21))
    with pytest.raises(CheckpointError, match="expected a dense network, got a pruned one"):
        _run(files | {"teacher": files["pruned"]}, Reconstruct(images=4))
    with pytest.raises(CheckpointError, match="expected a pruned network, got a dense one"):
        _run(files | {"pruned": files["teacher"]}, Reconstruct(images=4))
    dense = build_model("resnet20", 10, seed=0)
    kept = {name: list(range(len(weight))) for name, weight in layer_weights(dense).items()}
    save_model(files["pruned"], dense, {**architecture(CELL, kept), "order": "set"})
    with pytest.raises(CheckpointError, match=r"expected unions in sorted order, got those of prune.rule as_published"):
        _run(files, Reconstruct(images=4))
    assert not files["checkpoint"].exists()


@pytest.mark.parametrize("ridge", [1e-2, None], ids=["fitted and distilled", "distilled"])
def test_nothing_is_learnt_from_the_images_that_judge(
    files: dict[str, Path], ridge: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Reconstruct(images=20, held_out=0.25, ridge=ridge, distill_steps=4, batch_size=8)
    _run(files, settings)
    weights, values = files["checkpoint"].read_bytes(), recorded(files["record"])
    assert (values["images"], values["unseen_images"]) == (20, 5)
    worse = values["unseen_error_after"] > values["unseen_error_before"]
    assert ("made the network worse on 5 images" in caplog.text) == worse
    assert ("unseen_error_reconstructed" in values) == (ridge is not None)
    assert ridge is None or values["unseen_error_reconstructed"] < 0.1 * values["unseen_error_before"]
    tensors, metadata = read_tensors(files["data"])
    order = reconstruct._drawn(torch.arange(20), settings, CELL.seed)
    judging = order[split_images(20, 0.25, CELL.seed).judging]
    tensors["train_images"][judging] = 255 - tensors["train_images"][judging]
    write_tensors(files["data"], tensors, metadata)
    _run(files, settings)
    assert files["checkpoint"].read_bytes() == weights
    assert recorded(files["record"])["unseen_error_after"] != values["unseen_error_after"]
    tensors["train_images"][order[split_images(20, 0.25, CELL.seed).fitted[:1]]] = 0
    write_tensors(files["data"], tensors, metadata)
    _run(files, settings)
    assert files["checkpoint"].read_bytes() != weights
    _run(files, Reconstruct(images=20, held_out=0, ridge=ridge, distill_steps=4, batch_size=8))
    assert recorded(files["record"])["unseen_images"] == 0
    assert not any(name.startswith("unseen_error") for name in recorded(files["record"]))


def test_a_repair_that_ends_worse_is_said_in_the_log_and_in_the_record(
    files: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    steps = Reconstruct(
        images=16, held_out=0.5, ridge=None, distill_steps=6, learning_rate=30.0, warmup=0.0, momentum=0
    )
    _run(files, steps)
    values = recorded(files["record"])
    assert values["unseen_error_after"] > 100 * values["unseen_error_before"]
    said = [line for line in caplog.messages if "made the network worse" in line]
    percents = f"{values['unseen_error_before']:.1f} % -> {values['unseen_error_after']:.1f} %"
    assert said == [
        "the repair made the network worse on 8 images that it had not seen: relative error of the outputs "
        f"{percents}; give more images, or fewer steps"
    ]


@pytest.mark.parametrize("stop_after", [3, 24, 25], ids=["while fitting", "between", "while distilling"])
def test_a_repair_that_was_cut_off_ends_with_the_same_bytes_and_errors(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    settings, machine = Reconstruct(images=20, distill_steps=3), Machine(device="cpu", seconds_between_states=0)
    _run(files, settings)
    weights, values = files["checkpoint"].read_bytes(), recorded(files["record"])
    _stopped_after(stop_after, monkeypatch)
    files["checkpoint"].unlink()
    for _ in range(2):
        with contextlib.suppress(StoppedError):
            _run(files, settings, machine=machine, states=tmp_path / "states")
    assert files["checkpoint"].read_bytes() == weights
    unseen = [name for name in values if name.startswith("unseen")]
    assert len(unseen) == 4
    assert all(recorded(files["record"])[name] == values[name] for name in unseen)
