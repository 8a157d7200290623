"""A plan as a table, as JSON, and its sizes and reasons."""

import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ehap.data import CIFAR_SHAPE
from ehap.errors import PlanError, SettingsError
from ehap.evaluation import flops, parameters
from ehap.graph.layers import layer_weights
from ehap.graph.union import UnionAdd
from ehap.models import build_model
from ehap.pruning import Planner, magnitude, plan, prune, widened
from ehap.pruning.plan import PruningPlan
from ehap.settings.budget import Budget, Limits, Ranking

HALF = Budget(flops=0.5)
LAMP = Ranking(balance="lamp")


def _planned(model: nn.Module) -> PruningPlan:
    return plan(model, magnitude(layer_weights(model)), CIFAR_SHAPE, HALF, ranking=LAMP)


@pytest.fixture(scope="module")
def chosen() -> PruningPlan:
    return _planned(build_model("resnet20", 10, seed=0).eval())


@pytest.mark.parametrize("name", ["resnet20", "resnet56"])
def test_the_table_has_a_line_for_each_layer_and_the_totals_below(name: str) -> None:
    found = _planned(build_model(name, 10, seed=0).eval())
    lines = str(found).splitlines()
    assert max(map(len, lines)) <= 100
    rows = {line.split()[0]: line.split() for line in lines[1 : lines.index("")]}
    assert list(rows) == list(found.kept)
    for layer, kept in found.kept.items():
        assert rows[layer][1:3] == [str(found.widths[layer]), str(len(kept))]
    assert sum(float(row[3]) for row in rows.values()) == pytest.approx(100, abs=0.01 * len(rows))
    assert sum(float(row[4]) for row in rows.values()) == pytest.approx(100, abs=0.01 * len(rows))
    assert rows["fc"][5:] == ["output", "of", "the", "network"]
    kept, padded = lines[lines.index("") + 1 :]
    assert f"{found.parameters:,} of {found.dense_parameters:,}" in kept
    assert f"{100 * found.flops / found.dense_flops:.2f} %" in kept
    assert "padded to multiples of 16 for an engine" in padded
    assert f"{100 * found.padded_flops / found.dense_flops:.2f} % of the FLOPs" in padded


def test_sizes_of_layers_add_up(chosen: PruningPlan) -> None:
    sums = [sum(each) for each in zip(*chosen.sizes.values(), strict=True)]
    assert sums == [chosen.parameters, chosen.flops]


def test_a_plan_of_older_code_is_read_and_printed() -> None:
    found = PruningPlan.from_json(
        '{"kept": {"a": [0, 2]}, "widths": {"a": 3}, "parameters": 0, "dense_parameters": 0, "flops": 0, '
        '"dense_flops": 0, "input_shape": [3, 8, 8], "order": "sorted"}'
    )
    assert found.input_shape == (3, 8, 8)
    assert "padded" not in str(found)
    assert str(found).splitlines()[1].split() == ["a", "3", "2"]


@pytest.mark.parametrize("again", [1, 2, 3])
def test_the_padded_size_is_that_of_the_widened_network_however_often_it_was_pruned(
    again: int, enliven: Callable[[nn.Module], None]
) -> None:
    model = build_model("resnet20", 10, seed=0).eval()
    enliven(model)
    for _ in range(again):
        found = _planned(model)
        assert PruningPlan.from_json(found.to_json()) == found
        model = prune(model, found)
        assert any(isinstance(module, UnionAdd) for module in model.modules())
        assert (found.parameters, found.flops) == (parameters(model), flops(model, CIFAR_SHAPE))
        wide = widened(model, found.padded_to)
        assert (found.padded_to, found.padded_parameters) == (16, parameters(wide))
        assert found.padded_flops == flops(wide, CIFAR_SHAPE)


class Groups(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.read = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1)
        self.groups, self.one = nn.Conv2d(8, 8, 1, groups=2), nn.Conv2d(8, 1, 1)
        self.few, self.last = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.few(self.one(self.groups(self.read(self.first(x))))))


def test_a_layer_that_may_lose_no_channel_has_a_reason() -> None:
    reasons = {
        "read": "read by a convolution in groups",
        "groups": "convolution in groups",
        "one": "limit: min_channels 1",
        "last": "output of the network",
    }
    budget = Budget(prune_ratio=0.2)
    scores = {"first": torch.arange(8.0), "read": torch.ones(8), "groups": torch.ones(8), "one": torch.ones(1)}
    scores |= {"few": torch.full((2,), 9.0), "last": torch.ones(4)}
    planner = Planner(Groups().eval(), (3, 8, 8))
    found = planner(scores, budget)
    assert found.reasons == reasons  # few is whole, too, but only for its scores
    assert len(found.kept["few"]) == 2
    least = planner(scores, budget, Limits(min_channels=2)).reasons
    assert least == reasons | {"one": "limit: min_channels 2", "few": "limit: min_channels 2"}
    rounded = planner(scores, budget, Limits(round_to=8)).reasons
    assert rounded == reasons | {"few": "limit: round_to 8", "first": "limit: round_to 8"}
    most = planner(scores, budget, Limits(prune_ratio_limit=0.1)).reasons
    assert most == reasons | dict.fromkeys(("few", "first"), "limit: prune_ratio_limit 0.1")


class Ends(nn.Module):
    """A stream with three writers, of which two are outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.left, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        return self.last(torch.relu(x + self.left(x))) + x


def test_a_layer_that_is_tied_to_one_that_stays_whole_says_so() -> None:
    model = Ends().eval()
    scores = magnitude(layer_weights(model)) | {"first": torch.full((4,), 9.0)}
    tied = plan(model, scores, (3, 8, 8), Budget(prune_ratio=0.3), ranking=Ranking(residual="tied"))
    free = plan(model, scores, (3, 8, 8), Budget(prune_ratio=0.3))
    assert tied.reasons == {"first": "output of the network", "left": "tied to first", "last": "output of the network"}
    assert free.reasons == {"first": "output of the network", "last": "output of the network"}


class Sum(nn.Module):
    """Images are added to more channels than they have: no plain sum can do that."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.add, self.last = nn.Conv2d(3, 4, 1), UnionAdd([0, 1, 2], [0, 1, 2, 3], 4), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.add(x, self.first(x))))


def test_a_network_without_a_form_of_plain_sums_has_a_plan_without_a_padded_size() -> None:
    model = Sum().eval()
    scores = {"first": torch.arange(4.0), "last": torch.arange(4.0)}  # channel 3, which images lack, stays
    found = plan(model, scores, (3, 8, 8), Budget(flops=0.9))
    assert found.kept["first"][-1] == 3
    assert (found.padded_to, found.padded_parameters, found.padded_flops) == (0, 0, 0)
    assert "padded" not in str(found)


def test_streams_of_a_pruned_network_cannot_be_tied(chosen: PruningPlan) -> None:
    small = prune(build_model("resnet20", 10, seed=0).eval(), chosen)
    with pytest.raises(PlanError, match=r"residual tied: .*pruned already.*; take residual union"):
        plan(small, magnitude(layer_weights(small)), CIFAR_SHAPE, HALF, ranking=Ranking(residual="tied"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda _: "no plan\n", "a plan in JSON"),
        (lambda _: "", "a plan in JSON"),
        (lambda _: b"\xff", "a plan in JSON"),
        (lambda _: None, "a plan in JSON"),
        (lambda _: "[" * 100_000, "a plan in JSON"),
        (lambda _: "[1, 2]", "got list"),
        (lambda _: "null", "got NoneType"),
        (lambda fields: {name: each for name, each in fields.items() if name != "kept"}, "kept"),
        (lambda fields: fields | {"kind": 1}, "kind"),
        (lambda fields: fields | {"kept": {"conv1": ["0"]}}, "kept: expected layer to whole numbers"),
        (lambda fields: fields | {"kept": {"conv1": [0.5]}}, "kept: expected layer to whole numbers"),
        (lambda fields: fields | {"kept": {"conv1": [True]}}, "kept: expected layer to whole numbers"),
        (lambda fields: fields | {"kept": {"conv1": [-1]}}, "kept: expected layer to whole numbers"),
        (lambda fields: fields | {"kept": {"conv1": [0]}}, "name other layers"),
        (lambda fields: fields | {"widths": [3]}, "widths"),
        (lambda fields: fields | {"flops": float("nan")}, "flops"),
        (lambda fields: fields | {"order": "so\nrted"}, "order"),
        (lambda fields: fields | {"reasons": {"conv1": 1}}, "reasons"),
        (lambda fields: fields | {"input_shape": "abc"}, "input_shape"),
    ],
)
def test_what_is_no_plan_is_refused_in_one_line(
    chosen: PruningPlan, change: Callable[[dict[str, object]], object], words: str
) -> None:
    changed = change(json.loads(chosen.to_json()))
    with pytest.raises(PlanError) as raised:
        PruningPlan.from_json(json.dumps(changed) if isinstance(changed, dict) else changed)  # type: ignore[arg-type]
    text = str(raised.value)
    assert words in text
    assert "\n" not in text
    assert len(text) < 300


@pytest.mark.parametrize("channels", [5, None, 2.5])
def test_channels_of_a_mapping_that_are_no_list_are_refused(chosen: PruningPlan, channels: object) -> None:
    model = build_model("resnet20", 10, seed=0)
    with pytest.raises(PlanError, match="conv1: expected a list of the channels that stay"):
        prune(model, chosen.kept | {"conv1": channels})  # type: ignore[dict-item]


def test_parts_of_a_plan_say_what_they_expect() -> None:
    refused: list[tuple[Callable[[], object], str]] = [
        (Budget, "give either prune_ratio"),
        (lambda: Budget(flops=0.5, prune_ratio=0.5), "give either prune_ratio"),
        (lambda: Budget(flops=50), r"flops must lie in \(0, 1\], got 50"),
        (lambda: Budget(params="half"), "params must be a number, got 'half'"),  # type: ignore[arg-type]
        (lambda: Budget(flops=0.5, fill="both"), "fill both needs two budgets"),
        (lambda: Budget(flops=0.5, fill="all"), "fill"),  # type: ignore[arg-type]
        (lambda: Limits(min_channels=0), "min_channels must be at least 1"),
        (lambda: Limits(round_to=2.5), "round_to must be a whole number"),  # type: ignore[arg-type]
        (lambda: Limits(prune_ratio_limit=None), "prune_ratio_limit must be a number"),  # type: ignore[arg-type]
        (lambda: Ranking(balance="lmp"), "balance"),  # type: ignore[arg-type]
        (lambda: Ranking(residual="both"), "residual"),  # type: ignore[arg-type]
        (lambda: Ranking(rule="ours"), "rule"),  # type: ignore[arg-type]
    ]
    for call, words in refused:
        with pytest.raises(SettingsError, match=words):
            call()
