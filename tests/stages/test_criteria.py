"""Each criterion of the settings has its function in the prune stage; a name without one is refused."""

import json
from pathlib import Path

import pytest
import torch

from ehap.artifacts.dense import architecture, save_model
from ehap.artifacts.traces import read_scores
from ehap.curvature.criteria import SCORES
from ehap.errors import CheckpointError, SettingsError
from ehap.graph.layers import layer_weights
from ehap.models import build_model
from ehap.pruning import magnitude, random_scores, sensitivity
from ehap.pruning.criteria import OF_CURVATURE, OF_NETWORK, scores_from
from ehap.records import Identity, write_tensors
from ehap.settings import Prune
from ehap.settings.criteria import CRITERIA, FROM_CURVATURE, Criterion
from ehap.stages import prune
from tests.jobs import job_of

CELL = Identity(stage="prune", dataset="digits", model="resnet20", seed=3, method="m", curvature="exact")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A dense network, and scores of every criterion that needs a curvature: each prefers other channels."""
    folder = tmp_path_factory.mktemp("criteria")
    network = build_model("resnet20", 10, seed=3)
    save_model(folder / "dense", network, architecture(CELL, None))
    generator = torch.Generator().manual_seed(0)
    scores = {
        f"{criterion}.{layer}": torch.rand(len(weight), generator=generator, dtype=torch.float64)
        for criterion in FROM_CURVATURE
        for layer, weight in layer_weights(network).items()
    }
    write_tensors(folder / "traces", scores, {**architecture(CELL, None), "curvature": "exact"})
    former = {f"{name}.weight": tensor for name, tensor in scores.items()}
    write_tensors(folder / "former", former, {**architecture(CELL, None), "curvature": "exact"})
    return {name: folder / name for name in ("dense", "traces", "former")}


def _kept(files: dict[str, Path], folder: Path, settings: Prune) -> dict[str, list[int]]:
    inputs = {"checkpoint": files["dense"], "traces": files["traces"]}
    prune.run(job_of(folder, settings, CELL, inputs, "plan pruned record"))
    kept: dict[str, list[int]] = json.loads((folder / "plan").read_text())["kept"]
    return kept


def test_each_name_has_one_function_and_each_function_a_name() -> None:
    assert set(SCORES) == set(OF_CURVATURE) == set(FROM_CURVATURE)
    assert set(OF_NETWORK) == set(CRITERIA) - set(FROM_CURVATURE)


def test_every_criterion_ranks_by_its_own_scores(files: dict[str, Path], tmp_path: Path) -> None:
    plans = {name: _kept(files, tmp_path, Prune(criterion=name, params=0.5)) for name in CRITERIA}
    alike = {tuple(map(tuple, kept.values())) for kept in plans.values()}
    assert len(alike) == len(plans)  # none stands for another, or for a draw


def test_the_scores_are_those_of_the_functions() -> None:
    network = build_model("resnet20", 10, seed=3)
    weights = layer_weights(network)
    found = {layer: torch.rand(len(weight), dtype=torch.float64) for layer, weight in weights.items()}
    for criterion, expected in {"trace": sensitivity(found, weights), "gate": found}.items():
        scores = scores_from(network, criterion, found)
        assert all(torch.equal(values, scores[layer]) for layer, values in expected.items())
    for criterion, expected in {"magnitude": magnitude(weights), "random": random_scores(weights, 3)}.items():
        settings = Prune(criterion=criterion, params=0.5)
        scores = prune._of_criterion(network, job_of(Path(), settings, CELL))
        assert all(torch.equal(values, scores[layer]) for layer, values in expected.items())


def test_a_criterion_without_a_function_is_refused_by_its_name(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match=r"unknown criterion 'made-up'; expected one of trace, .*, random"):
        Prune(criterion="made-up", params=0.5)
    monkeypatch.setitem(CRITERIA, "made-up", Criterion("weights", "Made up."))
    settings = Prune(criterion="made-up", params=0.5)
    with pytest.raises(SettingsError, match=r"criterion: expected one of magnitude, .*, random, got 'made-up'"):
        _kept(files, tmp_path, settings)
    assert not (tmp_path / "plan").exists()
    with pytest.raises(SettingsError, match="got 'made-up'"):
        scores_from(build_model("resnet20", 10, seed=3), "made-up", {})


def test_traces_are_read_by_layer_whichever_names_a_file_has(files: dict[str, Path]) -> None:
    now, former = (read_scores(files[name], CELL, "gate") for name in ("traces", "former"))
    assert list(now) == list(former)
    assert set(now) == set(layer_weights(build_model("resnet20", 10, seed=3)))
    assert all(torch.equal(now[layer], former[layer]) for layer in now)
    with pytest.raises(CheckpointError, match="there are no scores of criterion other; add it to the criteria"):
        read_scores(files["traces"], CELL, "other")
