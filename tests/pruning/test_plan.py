import json
import re
from dataclasses import asdict, replace

import pytest
import torch
from torch import nn

from ehap.data import CIFAR_SHAPE
from ehap.errors import ArgumentError, PlanError, SettingsError
from ehap.evaluation import flops, parameters
from ehap.graph.channels import channel_graph
from ehap.graph.layers import layer_weights
from ehap.models import build_model
from ehap.pruning import Planner, magnitude, plan, prune, random_scores
from ehap.pruning.plan import PruningPlan
from ehap.settings import Prune
from ehap.settings.budget import Budget, Limits, Ranking
from tests.conftest import TinyResNet
from tests.pruning.chains import SMALL, scores_of_three, three_layers


def test_the_papers_ratio_on_a_hand_worked_example() -> None:
    # N = 9 channels, ratio 0.7: the floor(6.3) = 6 lowest go: 0 (layer 0), 0.1 (layer 5, protected: rows of the
    # output stay), 1, 2, 3 (all of layer 2) and 4 (layer 0). Limit 0.7: layer 2 loses at most floor(2.1) = 2 of its
    # 3, so it keeps its best, channel 1.
    scores = scores_of_three([0, 9, 4, 8], [1, 3, 2], [0.1, 7])
    chosen = plan(
        three_layers(), scores, SMALL, *Prune(criterion="trace", prune_ratio=0.7, prune_ratio_limit=0.7).parts
    )
    assert chosen.kept == {"0": [1, 3], "2": [1], "5": [0, 1]}


def test_ties_go_by_layer_order_then_index_and_a_layer_keeps_its_first_best() -> None:
    scores = scores_of_three([1, 1, 1, 1], [1, 1, 1], [9, 9])
    chosen = plan(
        three_layers(), scores, SMALL, *Prune(criterion="trace", prune_ratio=0.34, prune_ratio_limit=0.5).parts
    )
    # floor(0.34 · 9) = 3 lowest: channels 0, 1, 2 of layer 0; its limit floor(0.5 · 4) = 2 protects the best two,
    # which among equals are those that the ranking would remove last: 2 and 3.
    assert chosen.kept == {"0": [2, 3], "2": [0, 1, 2], "5": [0, 1]}


def test_one_channel_always_stays() -> None:
    everything = Prune(criterion="trace", prune_ratio=0.99, prune_ratio_limit=1.0)
    chosen = plan(three_layers(), scores_of_three([1] * 4, [1] * 3, [0] * 2), SMALL, *everything.parts)
    assert [len(channels) for channels in chosen.kept.values()] == [1, 1, 2]


@pytest.mark.parametrize("settings", [{"params": 0.1}, {"flops": 0.2}, {"prune_ratio": 0.6, "residual": "tied"}])
def test_the_predicted_size_is_the_built_size(settings: dict[str, float]) -> None:
    model = build_model("resnet20", 10, seed=0)
    chosen = plan(model, magnitude(layer_weights(model)), CIFAR_SHAPE, *Prune(criterion="magnitude", **settings).parts)  # type: ignore[arg-type]
    built = prune(model, chosen.kept)
    assert (parameters(built), flops(built, CIFAR_SHAPE)) == (chosen.parameters, chosen.flops)
    assert (parameters(model), flops(model, CIFAR_SHAPE)) == (chosen.dense_parameters, chosen.dense_flops)


def test_a_plan_file_is_read_back() -> None:
    model = build_model("resnet20", 10, seed=0)
    chosen = plan(
        model, random_scores(layer_weights(model), 0), CIFAR_SHAPE, *Prune(criterion="random", params=0.3).parts
    )
    read = PruningPlan(**json.loads(json.dumps(asdict(chosen))))
    assert replace(read, input_shape=CIFAR_SHAPE) == chosen
    assert tuple(read.input_shape) == CIFAR_SHAPE
    assert parameters(prune(model, read)) == chosen.parameters


def test_layers_keep_the_least_that_is_asked_for_and_widths_are_rounded_up() -> None:
    model = build_model("resnet20", 10, seed=0)
    scores = random_scores(layer_weights(model), seed=2)
    free, least, rounded = (
        plan(model, scores, CIFAR_SHAPE, *Prune(criterion="random", params=0.1, **more).parts)  # type: ignore[arg-type]
        for more in ({}, {"min_channels": 6}, {"round_to": 8})
    )
    assert min(map(len, free.kept.values())) < 6
    assert min(map(len, least.kept.values())) == 6
    assert {len(kept) % 8 for layer, kept in rounded.kept.items() if layer != "fc"} == {0}
    assert rounded.parameters <= 0.1 * rounded.dense_parameters
    for layer, kept in rounded.kept.items():  # the best channels of each layer
        best = scores[layer].argsort(descending=True)[: len(kept)]
        assert layer == "fc" or kept == sorted(best.tolist())


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
    chosen = plan(model, scores, (3, 8, 8), *settings.parts)
    assert chosen.kept["conv1"] == chosen.kept["block1.conv2"] == [0, 3]
    free = plan(model, scores, (3, 8, 8), *Prune(criterion="trace", prune_ratio=0.08).parts)
    assert free.kept["conv1"] != free.kept["block1.conv2"]


def test_a_later_round_takes_from_what_an_earlier_one_has_left() -> None:
    planner = Planner(three_layers(), SMALL)
    first = planner(scores_of_three([1, 2, 3, 4], [5, 6, 7], [9, 9]), *Prune(criterion="gate", prune_ratio=0.12).parts)
    assert first.kept["0"] == [1, 2, 3]
    half = Prune(criterion="gate", prune_ratio=0.34)
    second = planner(scores_of_three([100, 8, 8, 1], [3, 7, 7], [9, 9]), *half.parts, first.kept)
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
    chosen = plan(model, scores, SMALL, *Prune(criterion="trace", prune_ratio=0.625, rule="as_published").parts)
    assert (chosen.kept["0"], chosen.kept["1"], chosen.kept["2"]) == ([0], [31], [61, 62, 63])
    # int(0.625 · 178) = 111: all up to the value at that position go, 112 of them, so channel 0 of layer 3 still stays
    assert chosen.kept["3"] == list(range(64))
    more = plan(model, scores, SMALL, *Prune(criterion="trace", prune_ratio=0.63, rule="as_published").parts)
    assert more.kept["3"] == list(range(1, 64))  # int(0.63 · 178) = 112: one channel more than 112
    assert more.kept["6"] == [0, 1]


def test_shares_are_taken_as_written_not_as_floats() -> None:
    model = build_model("resnet20", 10, seed=0)
    scores = random_scores(layer_weights(model), 0)
    with pytest.raises(PlanError) as error:
        plan(model, scores, CIFAR_SHAPE, *Prune(criterion="random", params=0.001).parts)
    found = re.search(r"at least (\d+) \((0\.\d+)\)", str(error.value))
    assert found is not None
    reached = plan(model, scores, CIFAR_SHAPE, *Prune(criterion="random", params=float(found.group(2))).parts)
    assert reached.parameters == int(found.group(1))
    ratio = Prune(criterion="random", prune_ratio=0.29, prune_ratio_limit=1.0)
    kept = plan(TwoLayers(), {"one": torch.rand(90), "two": torch.full((10,), 2.0)}, (3, 8, 8), *ratio.parts).kept
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
    planner, before = Planner(model, CIFAR_SHAPE), None
    for number in range(1, 31):
        settings = Prune(criterion="gate", params=0.25 ** (number / 30), round_to=round_to)
        chosen = planner(random_scores(layer_weights(model), number), *settings.parts, before)
        if before is not None:
            assert all(set(channels) <= set(before[layer]) for layer, channels in chosen.kept.items())
        before = chosen.kept


def test_the_published_rule_knows_no_normalisation() -> None:
    with pytest.raises(SettingsError, match="rule as_published has prune_ratio and prune_ratio_limit only"):
        Prune(criterion="trace", prune_ratio=0.5, rule="as_published", balance="lamp")


def test_the_planner_takes_the_parts_of_settings_not_all_of_them_as_a_budget() -> None:
    scores, settings = scores_of_three([1, 2, 3, 4], [5, 6, 7], [9, 9]), Prune(criterion="gate", prune_ratio=0.2)
    with pytest.raises(ArgumentError, match=r"expected a Budget alone, .*; give \*settings.parts"):
        Planner(three_layers(), SMALL)(scores, settings)


@pytest.mark.parametrize(
    "parts",
    [
        (Budget(params=0.5), Limits(), Ranking(rule="as_published")),
        (Budget(prune_ratio=0.5), Limits(min_channels=2), Ranking(rule="as_published")),
        (Budget(prune_ratio=0.5), Limits(round_to=2), Ranking(rule="as_published")),
        (Budget(prune_ratio=0.5), Limits(), Ranking(rule="as_published", balance="lamp")),
        (Budget(prune_ratio=0.5), Limits(), Ranking(rule="as_published", residual="tied")),
    ],
)
def test_the_published_rule_ignores_no_setting(parts: tuple[Budget, Limits, Ranking]) -> None:
    scores = scores_of_three([1, 2, 3, 4], [5, 6, 7], [9, 9])
    with pytest.raises(PlanError, match="rule as_published has prune_ratio and prune_ratio_limit only"):
        plan(three_layers(), scores, SMALL, *parts)
