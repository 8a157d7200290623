import pytest
import torch
from torch import Tensor, nn

from ehap.errors import NumericsError, PlanError
from ehap.models import MODELS, build_model
from ehap.pruning import magnitude, plan, prune, random_scores, sensitivity
from ehap.pruning.channels import channel_graph
from ehap.pruning.counting import ParameterCounter
from ehap.pruning.plan import _kept, _ranking
from ehap.settings import Prune


def _chain() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)
    )


def _scores(first: list[float], second: list[float], last: list[float]) -> dict[str, Tensor]:
    names = ("0", "2", "5")
    return {name: torch.tensor(values) for name, values in zip(names, (first, second, last), strict=True)}


def test_the_papers_ratio_on_a_hand_worked_example() -> None:
    # N = 9 channels, ratio 0.7: the floor(6.3) = 6 lowest go: 0 (layer 0), 0.1 (layer 5, protected: rows of the
    # output stay), 1, 2, 3 (all of layer 2) and 4 (layer 0). Limit 0.7: layer 2 loses at most floor(2.1) = 2 of its
    # 3, so it keeps its best, channel 1.
    scores = _scores([0, 9, 4, 8], [1, 3, 2], [0.1, 7])
    chosen = plan(_chain(), scores, Prune(criterion="trace", prune_ratio=0.7, prune_ratio_limit=0.7))
    assert chosen.kept == {"0": [1, 3], "2": [1], "5": [0, 1]}


def test_ties_go_by_layer_order_then_index_and_a_layer_keeps_its_first_best() -> None:
    scores = _scores([1, 1, 1, 1], [1, 1, 1], [9, 9])
    chosen = plan(_chain(), scores, Prune(criterion="trace", prune_ratio=0.34, prune_ratio_limit=0.5))
    # floor(0.34 · 9) = 3 lowest: channels 0, 1, 2 of layer 0; its limit floor(0.5 · 4) = 2 protects the best two,
    # which among equals are those that the ranking would remove last: 2 and 3.
    assert chosen.kept == {"0": [2, 3], "2": [0, 1, 2], "5": [0, 1]}


def test_one_channel_always_stays() -> None:
    chosen = plan(
        _chain(), _scores([1] * 4, [1] * 3, [0] * 2), Prune(criterion="trace", prune_ratio=0.99, prune_ratio_limit=1.0)
    )
    assert [len(channels) for channels in chosen.kept.values()] == [1, 1, 2]


@pytest.mark.parametrize("name", MODELS)
def test_a_budget_is_met_to_within_one_channel(name: str) -> None:
    model = build_model(name, 10, seed=0)
    graph, scores = channel_graph(model), random_scores(_weights(model), seed=1)
    counter = ParameterCounter(model, graph)
    for budget in (0.05, 0.1, 0.3, 0.5, 0.95):
        chosen = plan(model, scores, Prune(criterion="random", params=budget))
        removed = sum(graph.layers().values()) - sum(map(len, chosen.kept.values()))
        ranking = [channel for channel in _ranking(graph, scores, 0.95) if channel.removable]
        one_fewer = counter(_kept(graph, ranking, removed - 1))
        assert chosen.parameters <= budget * chosen.dense_parameters < one_fewer, budget


def test_the_predicted_size_is_the_built_size() -> None:
    model = build_model("resnet20", 10, seed=0)
    chosen = plan(model, magnitude(_weights(model)), Prune(criterion="magnitude", params=0.1))
    assert sum(parameter.numel() for parameter in prune(model, chosen.kept).parameters()) == chosen.parameters


def test_a_budget_out_of_reach_says_what_can_be_reached() -> None:
    model = build_model("resnet20", 10, seed=0)
    settings = Prune(criterion="random", params=0.01, prune_ratio_limit=0.5)
    with pytest.raises(PlanError, match=r"2725 parameters asked for, but the limit per layer leaves at least \d+"):
        plan(model, random_scores(_weights(model), 0), settings)


def test_sensitivity_is_equation_8() -> None:
    weight = torch.arange(12, dtype=torch.float32).view(2, 3, 2, 1)
    scores = sensitivity({"layer": torch.tensor([2.0, -3.0])}, {"layer": weight})
    first, second = sum(i * i for i in range(6)), sum(i * i for i in range(6, 12))
    assert scores["layer"].tolist() == pytest.approx([2 / 12 * first, -3 / 12 * second])


def test_magnitude_is_the_mean_square() -> None:
    assert magnitude({"layer": torch.tensor([[3.0, 4.0], [0.0, 1.0]])})["layer"].tolist() == [12.5, 0.5]


def test_random_scores_follow_their_seed() -> None:
    weights = {"a": torch.zeros(5, 2), "b": torch.zeros(3, 2)}
    first, again, other = (random_scores(weights, seed) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in weights)
    assert not torch.equal(first["a"], other["a"])


def test_bad_scores_and_traces_are_refused() -> None:
    budget = Prune(criterion="trace", prune_ratio=0.5)
    with pytest.raises(NumericsError, match="0: the scores hold NaN or Inf"):
        plan(_chain(), _scores([float("nan"), 0, 0, 0], [0] * 3, [0] * 2), budget)
    with pytest.raises(PlanError, match=r"2: expected scores of shape \(3,\), got shape \(2,\)"):
        plan(_chain(), _scores([0] * 4, [0] * 2, [0] * 2), budget)
    with pytest.raises(NumericsError, match="layer: the traces hold NaN or Inf"):
        sensitivity({"layer": torch.tensor([float("inf")])}, {"layer": torch.ones(1, 2)})
    with pytest.raises(PlanError, match="layer: expected one trace for each of 1 channels, got none"):
        sensitivity({}, {"layer": torch.ones(1, 2)})


def _weights(model: nn.Module) -> dict[str, Tensor]:
    kinds = (nn.Conv2d, nn.Linear)
    return {name: module.weight for name, module in model.named_modules() if isinstance(module, kinds)}
