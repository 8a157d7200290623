"""Pruning by a function of the user's: what it is given, and that its scores decide."""

import json
from pathlib import Path

import pytest
import torch

from ehap.artifacts.datasets import load_data
from ehap.artifacts.dense import architecture, save_model
from ehap.data import hessian_batch
from ehap.errors import CheckpointError, DataError
from ehap.models import build_model
from ehap.records import Identity
from ehap.settings import Prune
from ehap.settings.prune import OwnCriterion
from ehap.stages import prune, prune_own
from tests.jobs import job_of, write_images

CELL = Identity(stage="prune", dataset="digits", model="resnet20", seed=2, method="own")
SOURCE = """
import torch

seen = {}

def score(network, labels, images, seed):
    seen.update(network=network, labels=labels, images=images, seed=seed, training=network.training)
    layers = {name: module.weight for name, module in network.named_modules() if hasattr(module, "in_channels")}
    network.conv1.weight.data.zero_()
    return {name: torch.arange(len(weight)) for name, weight in layers.items()} | {"fc": torch.zeros(10)}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "score_by_index.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    write_images(tmp_path / "data", 20, 20)
    save_model(tmp_path / "dense", build_model("resnet20", 10, seed=2), architecture(CELL, None))
    return tmp_path


def _run(folder: Path, data: Path | None, batch_size: int) -> dict[str, list[int]]:
    chosen = Prune(criterion="score_by_index:score", prune_ratio=0.5)
    inputs = {"checkpoint": folder / "dense", **({} if data is None else {"data": data})}
    prune_own.run(job_of(folder, OwnCriterion(prune=chosen, batch_size=batch_size), CELL, inputs, "plan pruned record"))
    kept: dict[str, list[int]] = json.loads((folder / "plan").read_text())["kept"]
    return kept


def test_the_function_gets_what_it_asks_for_and_its_scores_decide(folder: Path) -> None:
    import score_by_index  # type: ignore[import-not-found]

    kept = _run(folder, folder / "data", 8)
    assert kept["conv1"] == list(range(16))[-len(kept["conv1"]) :]  # the last ones have the highest scores
    loaded = load_data(job_of(folder, None, CELL, "data"), torch.device("cpu"))
    images, labels = hessian_batch(*loaded.train, loaded.info, 8, CELL.seed)
    seen = score_by_index.seen
    assert torch.equal(seen["images"], images)
    assert torch.equal(seen["labels"], labels)
    assert (seen["seed"], seen["training"]) == (2, False)
    pruned = prune.load_dense(folder / "dense", CELL)
    assert pruned.get_parameter("conv1.weight").any()  # the function had a copy
    assert json.loads((folder / "record").read_text())["settings"]["criterion"] == "score_by_index:score"


def test_a_batch_that_there_is_not_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match="expected at least 21 training images for the Hessian batch, got 20"):
        _run(folder, folder / "data", 21)
    with pytest.raises(CheckpointError, match="criterion score_by_index:score asks for images; give --input data=PATH"):
        _run(folder, None, 8)
