import json
import re
from bisect import bisect_left
from dataclasses import asdict, replace
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from ehap.errors import ArchitectureError, NumericsError, PlanError, SettingsError
from ehap.evaluation import flops, parameters
from ehap.graph.channels import channel_graph
from ehap.graph.layers import layer_weights
from ehap.models import INPUT_SHAPE, MODELS, build_model
from ehap.pruning import Planner, bn_scale, geometric_mean, lamp, magnitude, plan, prune, random_scores, sensitivity
from ehap.pruning.plan import PruningPlan
from ehap.settings import Prune
from tests.conftest import TinyResNet

SMALL = (1, 8, 8)


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
    chosen = plan(_chain(), scores, Prune(criterion="trace", prune_ratio=0.7, prune_ratio_limit=0.7), SMALL)
    assert chosen.kept == {"0": [1, 3], "2": [1], "5": [0, 1]}


def test_ties_go_by_layer_order_then_index_and_a_layer_keeps_its_first_best() -> None:
    scores = _scores([1, 1, 1, 1], [1, 1, 1], [9, 9])
    chosen = plan(_chain(), scores, Prune(criterion="trace", prune_ratio=0.34, prune_ratio_limit=0.5), SMALL)
    # floor(0.34 · 9) = 3 lowest: channels 0, 1, 2 of layer 0; its limit floor(0.5 · 4) = 2 protects the best two,
    # which among equals are those that the ranking would remove last: 2 and 3.
    assert chosen.kept == {"0": [2, 3], "2": [0, 1, 2], "5": [0, 1]}


def test_one_channel_always_stays() -> None:
    everything = Prune(criterion="trace", prune_ratio=0.99, prune_ratio_limit=1.0)
    chosen = plan(_chain(), _scores([1] * 4, [1] * 3, [0] * 2), everything, SMALL)
    assert [len(channels) for channels in chosen.kept.values()] == [1, 1, 2]


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
    planner, scores = Planner(model, INPUT_SHAPE), random_scores(layer_weights(model), seed=1)
    for budget in (0.05, 0.1, 0.3, 0.5, 0.95):
        chosen = planner(scores, Prune(criterion="random", **dict.fromkeys(wanted, budget)))  # type: ignore[arg-type]
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
    planner, scores = Planner(model, INPUT_SHAPE), magnitude(layer_weights(model))
    both = Prune(criterion="magnitude", normalise="lamp", params=budgets[0], flops=budgets[1])
    assert min(_used(planner(scores, both), both)) < 0.95
    used = _used(planner(scores, replace(both, fill="both")), both)
    assert 0.97 < min(used) <= max(used) <= 1


@pytest.mark.parametrize(
    "more", [{}, {"residual": "tied"}, {"round_to": 4}, {"min_channels": 6}, {"normalise": "lamp"}]
)
@pytest.mark.parametrize("negative", [0.0, 0.5, 1.0])
def test_filling_both_budgets_never_uses_less_than_the_ranking_as_it_is(more: dict[str, Any], negative: float) -> None:
    """Raw scores, of which noisy traces make some negative."""
    model = build_model("resnet20", 10, seed=0)
    planner, signs = Planner(model, INPUT_SHAPE), random_scores(layer_weights(model), seed=4)
    scores = {
        layer: values * torch.where(signs[layer] < negative, -1, 1)
        for layer, values in random_scores(layer_weights(model), seed=3).items()
    }
    both = Prune(criterion="trace", params=0.4, flops=0.4, **more)
    first, filled = (_used(planner(scores, replace(both, fill=fill)), both) for fill in ("first", "both"))  # type: ignore[arg-type]
    assert min(first) <= min(filled) <= max(filled) <= 1
    if not {"round_to", "normalise"} & more.keys():  # wide steps; with lamp all negative scores are 0
        assert min(filled) > 0.96


def test_maps_of_one_size_are_not_weighed_and_pooled_streams_count_as_their_blocks() -> None:
    settings = Prune(criterion="gate", params=0.4, flops=0.5)
    flat = nn.Sequential(*(nn.Conv2d(3 if index == 0 else 8, 8, 3, padding=1) for index in range(4)))
    scores = random_scores(layer_weights(flat), seed=0)
    first, both = (plan(flat, scores, replace(settings, fill=fill), (3, 8, 8)).kept for fill in ("first", "both"))  # type: ignore[arg-type]
    assert first == both
    pooled = resnet18(num_classes=10)
    planner = Planner(pooled, (3, 64, 64))
    ones = {layer: [1.0] * width for layer, width in planner._graph.widths().items()}
    units = planner._tilted(planner._units(ones, replace(settings, residual="tied"), None), 0.5)
    (stream,) = [unit for unit in units if "conv1" in unit.layers]
    assert set(stream.layers) == {"conv1", "layer1.0.conv2", "layer1.1.conv2"}
    assert stream.values[0] == 3 / 16  # three writers; 16 × 16 positions, not the 32 × 32 before the pooling


def test_budgets_too_far_apart_are_filled_as_far_as_sensible() -> None:
    model = build_model("resnet20", 10, seed=0)
    planner, scores = Planner(model, INPUT_SHAPE), magnitude(layer_weights(model))
    far = Prune(criterion="magnitude", normalise="lamp", params=0.9, flops=0.15)
    first, filled = planner(scores, far), planner(scores, replace(far, fill="both"))
    assert first.parameters < filled.parameters < 0.8 * filled.dense_parameters
    assert 0.14 * filled.dense_flops < filled.flops <= 0.15 * filled.dense_flops
    with pytest.raises(SettingsError, match=r"about two budgets, got params=None and flops=0\.15; give both"):
        replace(far, params=None, fill="both")
    with pytest.raises(PlanError, match=r"flops 0.001 asks for at most \d+ of"):
        planner(scores, replace(far, flops=0.001, fill="both"))


@pytest.mark.parametrize("settings", [{"params": 0.1}, {"flops": 0.2}, {"prune_ratio": 0.6, "residual": "tied"}])
def test_the_predicted_size_is_the_built_size(settings: dict[str, float]) -> None:
    model = build_model("resnet20", 10, seed=0)
    chosen = plan(model, magnitude(layer_weights(model)), Prune(criterion="magnitude", **settings), INPUT_SHAPE)  # type: ignore[arg-type]
    built = prune(model, chosen.kept)
    assert (parameters(built), flops(built, INPUT_SHAPE)) == (chosen.parameters, chosen.flops)
    assert (parameters(model), flops(model, INPUT_SHAPE)) == (chosen.dense_parameters, chosen.dense_flops)


@pytest.mark.parametrize(("key", "asked"), [("params", "2724 of 272474"), ("flops", r"\d+ of 816\d+")])
def test_a_budget_out_of_reach_says_what_can_be_reached(key: str, asked: str) -> None:
    model = build_model("resnet20", 10, seed=0)
    scores, limit = random_scores(layer_weights(model), 0), {"criterion": "random", "prune_ratio_limit": 0.5}
    with pytest.raises(PlanError, match=rf"{key} 0.01 asks for at most {asked}, but .* leave at least \d+") as error:
        plan(model, scores, Prune(**limit, **{key: 0.01}), INPUT_SHAPE)  # type: ignore[arg-type]
    least, dense = (int(number) for number in re.findall(r"of (\d+), .* at least (\d+)", str(error.value))[0][::-1])
    smallest = plan(model, scores, Prune(**limit, **{key: least / dense}), INPUT_SHAPE)  # type: ignore[arg-type]
    assert least == (smallest.parameters if key == "params" else smallest.flops)


@pytest.mark.parametrize("fill", ["first", "both"])
def test_two_budgets_out_of_reach_are_both_named(fill: Literal["first", "both"]) -> None:
    model = build_model("resnet20", 10, seed=0)
    settings = Prune(criterion="random", params=0.01, flops=0.02, fill=fill, prune_ratio_limit=0.5)
    with pytest.raises(PlanError, match=r"params 0.01 asks for .*; flops 0.02 asks for .*; raise params and flops or"):
        plan(model, random_scores(layer_weights(model), 0), settings, INPUT_SHAPE)


def test_a_plan_file_is_read_back() -> None:
    model = build_model("resnet20", 10, seed=0)
    chosen = plan(model, random_scores(layer_weights(model), 0), Prune(criterion="random", params=0.3), INPUT_SHAPE)
    read = PruningPlan(**json.loads(json.dumps(asdict(chosen))))
    assert replace(read, input_shape=INPUT_SHAPE) == chosen
    assert tuple(read.input_shape) == INPUT_SHAPE
    assert parameters(prune(model, read)) == chosen.parameters


def test_layers_keep_the_least_that_is_asked_for_and_widths_are_rounded_up() -> None:
    model = build_model("resnet20", 10, seed=0)
    scores = random_scores(layer_weights(model), seed=2)
    free, least, rounded = (
        plan(model, scores, Prune(criterion="random", params=0.1, **more), INPUT_SHAPE)  # type: ignore[arg-type]
        for more in ({}, {"min_channels": 6}, {"round_to": 8})
    )
    assert min(map(len, free.kept.values())) < 6
    assert min(map(len, least.kept.values())) == 6
    assert {len(kept) % 8 for layer, kept in rounded.kept.items() if layer != "fc"} == {0}
    assert rounded.parameters <= 0.1 * rounded.dense_parameters
    for layer, kept in rounded.kept.items():  # the best channels of each layer
        best = scores[layer].argsort(descending=True)[: len(kept)]
        assert layer == "fc" or kept == sorted(best.tolist())


def test_lamp_divides_by_what_is_no_smaller_and_balances_layers() -> None:
    assert lamp([1, 3, 2, 2]) == pytest.approx([1 / 8, 1, 2 / 7, 2 / 7])
    assert lamp([-5, 0, 4]) == [0, 0, 1]
    assert lamp([0, 0]) == [0, 0]
    for bad in (float("nan"), float("inf")):
        with pytest.raises(NumericsError, match="scores to be balanced that are finite, got NaN or Inf"):
            lamp([1, bad])
    # Layer 2 has tiny scores: without lamp it loses all that it may, with it the shares within the layers decide.
    scores = _scores([10, 20, 30, 40], [0.1, 0.2, 0.3], [1, 1])
    plain, balanced = (
        plan(_chain(), scores, Prune(criterion="gate", normalise=how, prune_ratio=0.3, prune_ratio_limit=0.7), SMALL)  # type: ignore[arg-type]
        for how in ("none", "lamp")
    )
    # floor(0.3 · 9) = 2: the two lowest are 0.1 and 0.2 of layer 2; with lamp 10/100 of layer 0 and 0.1/0.6 of layer 2.
    assert plain.kept == {"0": [0, 1, 2, 3], "2": [2], "5": [0, 1]}
    assert balanced.kept == {"0": [1, 2, 3], "2": [1, 2], "5": [0, 1]}


def test_tied_layers_keep_the_same_channels_by_the_sum_of_their_scores() -> None:
    model = TinyResNet()
    assert channel_graph(model).tied() == [
        ("conv1", "block1.conv2"),
        ("block1.conv1",),
        ("block2.conv1",),
        ("block2.conv2", "block2.downsample.0"),
        ("fc",),
    ]
    scores = {layer: torch.full((width,), 100.0) for layer, width in channel_graph(model).widths().items()}
    scores["conv1"], scores["block1.conv2"] = torch.tensor([1.0, 2, 3, 4]), torch.tensor([9.0, 1, 0, 0])
    # N = 25 channels in five groups; sums 10, 3, 3, 4: the two lowest go, of equals the first first.
    settings = Prune(criterion="trace", prune_ratio=0.08, residual="tied")
    chosen = plan(model, scores, settings, (3, 8, 8))
    assert chosen.kept["conv1"] == chosen.kept["block1.conv2"] == [0, 3]
    free = plan(model, scores, Prune(criterion="trace", prune_ratio=0.08), (3, 8, 8))
    assert free.kept["conv1"] != free.kept["block1.conv2"]


def test_a_later_round_takes_from_what_an_earlier_one_has_left() -> None:
    planner = Planner(_chain(), SMALL)
    first = planner(_scores([1, 2, 3, 4], [5, 6, 7], [9, 9]), Prune(criterion="gate", prune_ratio=0.12))
    assert first.kept["0"] == [1, 2, 3]
    half = Prune(criterion="gate", prune_ratio=0.34)
    second = planner(_scores([100, 8, 8, 1], [3, 7, 7], [9, 9]), half, first.kept)
    assert second.kept == {"0": [1, 2], "2": [1, 2], "5": [0, 1]}  # channel 0 of layer 0 stays gone, whatever its score


def test_the_published_rule_with_its_slips() -> None:
    # 16, 32 and 64 channels, all under the threshold: 0.95 of 16 is position 15, above which there is none, so that
    # channel 0 stays though it is the worst; of 32 one stays, of 64 three.
    model = nn.Sequential(
        *(nn.Conv2d(1, 16, 1), nn.Conv2d(16, 32, 1), nn.Conv2d(32, 64, 1), nn.Conv2d(64, 64, 1)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2)),
    )
    scores = {str(layer): torch.arange(float(width)) for layer, width in ((0, 16), (1, 32), (2, 64))}
    scores |= {"3": 1000 + torch.arange(64.0), "6": torch.tensor([2000.0, 2001.0])}
    chosen = plan(model, scores, Prune(criterion="trace", prune_ratio=0.625, rule="as_published"), SMALL)
    assert (chosen.kept["0"], chosen.kept["1"], chosen.kept["2"]) == ([0], [31], [61, 62, 63])
    # int(0.625 · 178) = 111: all up to the value at that position go, 112 of them, so channel 0 of layer 3 still stays
    assert chosen.kept["3"] == list(range(64))
    more = plan(model, scores, Prune(criterion="trace", prune_ratio=0.63, rule="as_published"), SMALL)
    assert more.kept["3"] == list(range(1, 64))  # int(0.63 · 178) = 112: one channel more than 112
    assert more.kept["6"] == [0, 1]


def test_bn_scale_is_the_size_of_gamma() -> None:
    model = TinyResNet()
    with torch.no_grad():
        model.bn1.weight.copy_(torch.tensor([-3.0, 0, 1, 2]))
    scores = bn_scale(model)
    assert scores["conv1"].tolist() == [3, 0, 1, 2]
    assert set(scores) == set(channel_graph(model).widths())
    with pytest.raises(ArchitectureError, match="0: criterion bn-scale expects a BatchNorm behind it"):
        bn_scale(_chain())


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


def test_bad_scores_and_traces_are_refused() -> None:
    budget = Prune(criterion="trace", prune_ratio=0.5)
    with pytest.raises(NumericsError, match="0: the scores hold NaN or Inf"):
        plan(_chain(), _scores([float("nan"), 0, 0, 0], [0] * 3, [0] * 2), budget, SMALL)
    with pytest.raises(PlanError, match=r"2: expected scores of shape \(3,\), got shape \(2,\)"):
        plan(_chain(), _scores([0] * 4, [0] * 2, [0] * 2), budget, SMALL)
    for value in ("nan", "inf"):
        with pytest.raises(NumericsError, match="layer: the traces hold NaN or Inf"):
            sensitivity({"layer": torch.tensor([float(value)])}, {"layer": torch.ones(1, 2)})
    with pytest.raises(PlanError, match="layer: expected one trace for each of 1 channels, got none"):
        sensitivity({}, {"layer": torch.ones(1, 2)})


def test_shares_are_taken_as_written_not_as_floats() -> None:
    model = build_model("resnet20", 10, seed=0)
    scores = random_scores(layer_weights(model), 0)
    with pytest.raises(PlanError) as error:
        plan(model, scores, Prune(criterion="random", params=0.001), INPUT_SHAPE)
    found = re.search(r"at least (\d+) \((0\.\d+)\)", str(error.value))
    assert found is not None
    reached = plan(model, scores, Prune(criterion="random", params=float(found.group(2))), INPUT_SHAPE)
    assert reached.parameters == int(found.group(1))
    ratio = Prune(criterion="random", prune_ratio=0.29, prune_ratio_limit=1.0)
    kept = plan(TwoLayers(), {"one": torch.rand(90), "two": torch.full((10,), 2.0)}, ratio, (3, 8, 8)).kept
    assert len(kept["one"]) == 90 - 29  # 0.29 · 100 is 28.999… in binary


class TwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 90, 1), nn.Conv2d(90, 10, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(torch.relu(self.one(x)))


@pytest.mark.parametrize("round_to", [1, 8, 16])
def test_what_an_earlier_round_took_never_comes_back(round_to: int) -> None:
    model = build_model("resnet20", 10, seed=0)
    planner, before = Planner(model, INPUT_SHAPE), None
    for number in range(1, 31):
        settings = Prune(criterion="gate", params=0.25 ** (number / 30), round_to=round_to)
        chosen = planner(random_scores(layer_weights(model), number), settings, before)
        if before is not None:
            assert all(set(channels) <= set(before[layer]) for layer, channels in chosen.kept.items())
        before = chosen.kept


@pytest.mark.parametrize(
    "settings", [{"residual": "tied"}, {"normalise": "lamp"}, {"round_to": 4}, {"min_channels": 3}]
)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_no_setting_takes_a_plan_above_its_budget(settings: dict[str, Any], share: float) -> None:
    """Nor does one stay farther below it than the ranking's last step takes it."""
    model = build_model("resnet32", 10, seed=0)
    planner, scores = Planner(model, INPUT_SHAPE), magnitude(layer_weights(model))
    graph = channel_graph(model)
    groups = graph.tied() if "residual" in settings else [(layer,) for layer in graph.widths()]
    ranked = sum(graph.widths()[group[0]] for group in groups)

    def smaller(removed: int) -> PruningPlan:
        return planner(scores, Prune(criterion="magnitude", **settings, prune_ratio=removed / ranked))

    for budget in ({"params": share}, {"flops": share}, {"params": share, "flops": share}):
        found = planner(scores, Prune(criterion="magnitude", **settings, **budget))

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


def test_scores_are_made_with_the_magnitude_before_a_plan_is() -> None:
    model = build_model("resnet20", 10, seed=0)
    settings = Prune(criterion="gate", with_magnitude=True, params=0.5)
    with pytest.raises(PlanError, match=r"expected settings without with_magnitude, .* give the scores that"):
        plan(model, magnitude(layer_weights(model)), settings, INPUT_SHAPE)


def test_settings_of_several_rounds_are_not_planned_as_one() -> None:
    model = build_model("resnet20", 10, seed=0)
    with pytest.raises(PlanError, match="expected settings of one round, got rounds 5"):
        plan(model, random_scores(layer_weights(model), 0), Prune(criterion="gate", params=0.5, rounds=5), INPUT_SHAPE)


def test_the_published_rule_knows_no_normalisation() -> None:
    with pytest.raises(SettingsError, match="rule as_published has prune_ratio and prune_ratio_limit only"):
        Prune(criterion="trace", prune_ratio=0.5, rule="as_published", normalise="lamp")
