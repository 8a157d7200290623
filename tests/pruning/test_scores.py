"""Scores of channels."""

import re

import pytest
import torch

from ehap.data import CIFAR_SHAPE
from ehap.errors import ArchitectureError, NumericsError, PlanError, SettingsError
from ehap.graph.channels import channel_graph
from ehap.graph.layers import layer_weights
from ehap.models import build_model
from ehap.pruning import bn_scale, geometric_mean, lamp, magnitude, plan, random_scores, sensitivity
from ehap.settings import Prune
from ehap.settings.budget import Budget
from tests.conftest import TinyResNet
from tests.pruning.chains import SMALL, scores_of_three, three_layers


def test_lamp_divides_by_what_is_no_smaller_and_balances_layers() -> None:
    assert lamp([1, 3, 2, 2]) == pytest.approx([1 / 8, 1, 2 / 7, 2 / 7])
    assert lamp([-5, 0, 4]) == [0, 0, 1]
    assert lamp([0, 0]) == [0, 0]
    for bad in (float("nan"), float("inf")):
        with pytest.raises(NumericsError, match="finite scores to balance, got NaN or Inf"):
            lamp([1, bad])
    # Layer 2 has tiny scores: without lamp it loses all that it may, with it the shares within the layers decide.
    scores = scores_of_three([10, 20, 30, 40], [0.1, 0.2, 0.3], [1, 1])
    plain, balanced = (
        plan(
            three_layers(),
            scores,
            SMALL,
            *Prune(criterion="gate", balance=how, prune_ratio=0.3, prune_ratio_limit=0.7).parts,
        )  # type: ignore[arg-type]
        for how in ("none", "lamp")
    )
    # floor(0.3 · 9) = 2: the two lowest are 0.1 and 0.2 of layer 2; with lamp 10/100 of layer 0 and 0.1/0.6 of layer 2.
    assert plain.kept == {"0": [0, 1, 2, 3], "2": [2], "5": [0, 1]}
    assert balanced.kept == {"0": [1, 2, 3], "2": [1, 2], "5": [0, 1]}


def test_bn_scale_is_the_size_of_gamma() -> None:
    model = TinyResNet()
    with torch.no_grad():
        model.bn1.weight.copy_(torch.tensor([-3.0, 0, 1, 2]))
    scores = bn_scale(model)
    assert scores["conv1"].tolist() == [3, 0, 1, 2]
    assert set(scores) == set(channel_graph(model).widths())
    with pytest.raises(ArchitectureError, match="0: criterion bn-scale expects a BatchNorm behind it"):
        bn_scale(three_layers())


def test_sensitivity_is_equation_8() -> None:
    weight = torch.arange(12, dtype=torch.float32).view(2, 3, 2, 1)
    scores = sensitivity({"layer": torch.tensor([2.0, -3.0])}, {"layer": weight})
    first, second = sum(i * i for i in range(6)), sum(i * i for i in range(6, 12))
    assert scores["layer"].tolist() == pytest.approx([2 / 12 * first, -3 / 12 * second])


def test_scores_with_the_magnitude_are_the_geometric_mean() -> None:
    gates = {"layer": torch.tensor([4.0, -1.0]), "fc": torch.empty(0)}
    squares = {"layer": torch.tensor([9.0, 9.0]), "fc": torch.ones(3)}
    found = geometric_mean(gates, squares)
    assert found["layer"].tolist() == [6.0, 0.0]
    assert len(found["fc"]) == 0
    with pytest.raises(SettingsError, match="with_magnitude needs another criterion"):
        Prune(criterion="magnitude", with_magnitude=True, params=0.5)
    with pytest.raises(PlanError, match="both scores of each layer, but the second has none of layer"):
        geometric_mean(gates, {"fc": torch.ones(3)})


def test_magnitude_is_the_mean_square() -> None:
    assert magnitude({"layer": torch.tensor([[3.0, 4.0], [0.0, 1.0]])})["layer"].tolist() == [12.5, 0.5]


def test_random_scores_follow_their_seed() -> None:
    weights = {"a": torch.zeros(5, 2), "b": torch.zeros(3, 2)}
    first, again, other = (random_scores(weights, seed) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in weights)
    assert not torch.equal(first["a"], other["a"])


def test_scores_of_a_larger_network_of_the_family_are_refused() -> None:
    small, large = (build_model(name, 10, seed=0) for name in ("resnet20", "resnet56"))
    with pytest.raises(PlanError, match=r"'layer1.3.conv1': expected scores of this network"):
        plan(small, magnitude(layer_weights(large)), CIFAR_SHAPE, Budget(flops=0.5))


def test_bad_scores_and_traces_are_refused() -> None:
    budget = Prune(criterion="trace", prune_ratio=0.5)
    with pytest.raises(NumericsError, match="0: the scores hold NaN or Inf"):
        plan(three_layers(), scores_of_three([float("nan"), 0, 0, 0], [0] * 3, [0] * 2), SMALL, *budget.parts)
    good = scores_of_three([0] * 4, [0] * 3, [0] * 2)
    for bad, words in (
        (
            {"2": torch.zeros(2)},
            "2: expected a tensor of 3 scores, one for each channel, got torch.float32 of shape (2,)",
        ),
        ({"2": [0.0] * 3}, "one for each channel, got list"),
        ({"2": torch.zeros(3, dtype=torch.complex64)}, "got torch.complex64 of shape (3,)"),
        ({"2": torch.zeros(3, device="meta")}, "without values"),
        ({"2": None}, "got none"),
        ({"9": torch.zeros(3)}, "'9': expected scores of this network, which has no such layer"),
    ):
        with pytest.raises(PlanError, match=re.escape(words)):
            plan(three_layers(), good | bad, SMALL, *budget.parts)  # type: ignore[operator]
    for value in ("nan", "inf"):
        with pytest.raises(NumericsError, match="layer: the traces hold NaN or Inf"):
            sensitivity({"layer": torch.tensor([float(value)])}, {"layer": torch.ones(1, 2)})
    with pytest.raises(PlanError, match="layer: expected one trace for each of 1 channels, got none"):
        sensitivity({}, {"layer": torch.ones(1, 2)})
