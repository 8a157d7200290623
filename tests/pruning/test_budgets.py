"""Plans that meet a budget."""

import re
from bisect import bisect_left
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from ehap.data import CIFAR_SHAPE
from ehap.errors import PlanError, SettingsError
from ehap.graph.channels import channel_graph
from ehap.graph.layers import layer_weights
from ehap.models import MODELS, build_model
from ehap.pruning import Planner, magnitude, plan, random_scores
from ehap.pruning.plan import PruningPlan
from ehap.pruning.planner import _Settings
from ehap.settings import Prune


def _with_one_more(chosen: PruningPlan, scores: dict[str, Tensor]) -> dict[str, list[int]]:
    """The plan with the channel that was removed last back in."""
    gone = [
        (values[index].item(), layer, index)
        for layer, values in scores.items()
        for index in set(range(len(values))) - set(chosen.kept[layer])
    ]
    _, layer, index = max(gone)
    return chosen.kept | {layer: sorted([*chosen.kept[layer], index])}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("wanted", [("params",), ("flops",), ("params", "flops")])
def test_a_budget_is_met_to_within_one_channel(name: str, wanted: tuple[str, ...]) -> None:
    model = build_model(name, 10, seed=0)
    planner, scores = Planner(model, CIFAR_SHAPE), random_scores(layer_weights(model), seed=1)
    for budget in (0.05, 0.1, 0.3, 0.5, 0.95):
        chosen = planner(scores, *Prune(criterion="random", **dict.fromkeys(wanted, budget)).parts)  # type: ignore[arg-type]
        more = planner._count(_with_one_more(chosen, scores))
        sizes = {
            "params": (chosen.parameters, more.parameters, chosen.dense_parameters),
            "flops": (chosen.flops, more.flops, chosen.dense_flops),
        }
        assert all(sizes[key][0] <= budget * sizes[key][2] for key in wanted), budget
        assert any(sizes[key][1] > budget * sizes[key][2] for key in wanted), budget


def _used(chosen: PruningPlan, settings: Prune) -> list[float]:
    """Which shares of two budgets a plan uses."""
    assert settings.params
    assert settings.flops
    shares = chosen.parameters / chosen.dense_parameters, chosen.flops / chosen.dense_flops
    return [shares[0] / settings.params, shares[1] / settings.flops]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("budgets", [(0.5, 0.5), (0.3, 0.2), (0.2, 0.3)])
def test_both_budgets_are_used_up_by_weighing_large_maps_against_small_ones(
    name: str, budgets: tuple[float, float]
) -> None:
    model = build_model(name, 10, seed=0)
    planner, scores = Planner(model, CIFAR_SHAPE), magnitude(layer_weights(model))
    both = Prune(criterion="magnitude", balance="lamp", params=budgets[0], flops=budgets[1])
    assert min(_used(planner(scores, *both.parts), both)) < 0.95
    used = _used(planner(scores, *replace(both, fill="both").parts), both)
    assert 0.97 < min(used) <= max(used) <= 1


@pytest.mark.parametrize("more", [{}, {"residual": "tied"}, {"round_to": 4}, {"min_channels": 6}, {"balance": "lamp"}])
@pytest.mark.parametrize("negative", [0.0, 0.5, 1.0])
def test_filling_both_budgets_never_uses_less_than_the_ranking_as_it_is(more: dict[str, Any], negative: float) -> None:
    """Raw scores, of which noisy traces make some negative."""
    model = build_model("resnet20", 10, seed=0)
    planner, signs = Planner(model, CIFAR_SHAPE), random_scores(layer_weights(model), seed=4)
    scores = {
        layer: values * torch.where(signs[layer] < negative, -1, 1)
        for layer, values in random_scores(layer_weights(model), seed=3).items()
    }
    both = Prune(criterion="trace", params=0.4, flops=0.4, **more)
    first, filled = (_used(planner(scores, *replace(both, fill=fill).parts), both) for fill in ("first", "both"))  # type: ignore[arg-type]
    assert min(first) <= min(filled) <= max(filled) <= 1
    if not {"round_to", "balance"} & more.keys():  # wide steps; with lamp all negative scores are 0
        assert min(filled) > 0.96


def test_maps_of_one_size_are_not_weighed_and_pooled_streams_count_as_their_blocks() -> None:
    settings = Prune(criterion="gate", params=0.4, flops=0.5)
    flat = nn.Sequential(*(nn.Conv2d(3 if index == 0 else 8, 8, 3, padding=1) for index in range(4)))
    scores = random_scores(layer_weights(flat), seed=0)
    first, both = (
        plan(flat, scores, (3, 8, 8), *replace(settings, fill=fill).parts).kept for fill in ("first", "both")
    )  # type: ignore[arg-type]
    assert first == both
    pooled = resnet18(num_classes=10)
    planner = Planner(pooled, (3, 64, 64))
    ones = {layer: [1.0] * width for layer, width in planner._graph.widths().items()}
    units = planner._tilted(planner._units(ones, _Settings(*replace(settings, residual="tied").parts), None), 0.5)
    (stream,) = [unit for unit in units if "conv1" in unit.layers]
    assert set(stream.layers) == {"conv1", "layer1.0.conv2", "layer1.1.conv2"}
    assert stream.values[0] == 3 / 16  # three writers; 16 × 16 positions, not the 32 × 32 before the pooling


def test_budgets_too_far_apart_are_filled_as_far_as_sensible() -> None:
    model = build_model("resnet20", 10, seed=0)
    planner, scores = Planner(model, CIFAR_SHAPE), magnitude(layer_weights(model))
    far = Prune(criterion="magnitude", balance="lamp", params=0.9, flops=0.15)
    first, filled = planner(scores, *far.parts), planner(scores, *replace(far, fill="both").parts)
    assert first.parameters < filled.parameters < 0.8 * filled.dense_parameters
    assert 0.14 * filled.dense_flops < filled.flops <= 0.15 * filled.dense_flops
    with pytest.raises(SettingsError, match=r"fill both needs two budgets, got params=None and flops=0\.15; give both"):
        replace(far, params=None, fill="both")
    with pytest.raises(PlanError, match=r"flops 0.001 asks for at most \d+ of"):
        planner(scores, *replace(far, flops=0.001, fill="both").parts)


@pytest.mark.parametrize(("key", "asked"), [("params", "2724 of 272474"), ("flops", r"\d+ of 816\d+")])
def test_a_budget_out_of_reach_says_what_can_be_reached(key: str, asked: str) -> None:
    model = build_model("resnet20", 10, seed=0)
    scores, limit = random_scores(layer_weights(model), 0), {"criterion": "random", "prune_ratio_limit": 0.5}
    with pytest.raises(PlanError, match=rf"{key} 0.01 asks for at most {asked}, but .* leave at least \d+") as error:
        plan(model, scores, CIFAR_SHAPE, *Prune(**limit, **{key: 0.01}).parts)  # type: ignore[arg-type]
    least, dense = (int(number) for number in re.findall(r"of (\d+), .* at least (\d+)", str(error.value))[0][::-1])
    smallest = plan(model, scores, CIFAR_SHAPE, *Prune(**limit, **{key: least / dense}).parts)  # type: ignore[arg-type]
    assert least == (smallest.parameters if key == "params" else smallest.flops)


@pytest.mark.parametrize("fill", ["first", "both"])
def test_two_budgets_out_of_reach_are_both_named(fill: Literal["first", "both"]) -> None:
    model = build_model("resnet20", 10, seed=0)
    settings = Prune(criterion="random", params=0.01, flops=0.02, fill=fill, prune_ratio_limit=0.5)
    with pytest.raises(PlanError, match=r"params 0.01 asks for .*; flops 0.02 asks for .*; raise params and flops or"):
        plan(model, random_scores(layer_weights(model), 0), CIFAR_SHAPE, *settings.parts)


@pytest.mark.parametrize("settings", [{"residual": "tied"}, {"balance": "lamp"}, {"round_to": 4}, {"min_channels": 3}])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_no_setting_takes_a_plan_above_its_budget(settings: dict[str, Any], share: float) -> None:
    """Nor does one stay farther below it than the ranking's last step takes it."""
    model = build_model("resnet32", 10, seed=0)
    planner, scores = Planner(model, CIFAR_SHAPE), magnitude(layer_weights(model))
    graph = channel_graph(model)
    groups = graph.tied() if "residual" in settings else [(layer,) for layer in graph.widths()]
    ranked = sum(graph.widths()[group[0]] for group in groups)

    def smaller(removed: int) -> PruningPlan:
        return planner(scores, *Prune(criterion="magnitude", **settings, prune_ratio=removed / ranked).parts)

    for budget in ({"params": share}, {"flops": share}, {"params": share, "flops": share}):
        found = planner(scores, *Prune(criterion="magnitude", **settings, **budget).parts)

        def within(size: PruningPlan, budget: dict[str, float] = budget) -> bool:
            return all(
                size.parameters <= share * size.dense_parameters
                if name == "params"
                else size.flops <= share * size.dense_flops
                for name in budget
            )

        assert within(found)
        removed = bisect_left(range(ranked), -found.parameters, key=lambda number: -smaller(number).parameters)
        assert smaller(removed) == found
        assert not within(smaller(removed - 1))
