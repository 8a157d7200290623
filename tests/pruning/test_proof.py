"""The guard that compares a pruned network with the masked original: it sees what is broken, and names the layer."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ehap.errors import ArchitectureError, MismatchError, PlanError
from ehap.graph import check_reading, example_images
from ehap.graph.channels import channel_graph
from ehap.graph.layers import layer_weights
from ehap.graph.union import UnionAdd
from ehap.pruning import Planner, magnitude, plan, prune, surgery
from ehap.pruning.plan import PruningPlan
from ehap.pruning.proof import check_pruned
from ehap.settings import Prune

SHAPE = (3, 8, 8)


@pytest.fixture
def chosen(tiny: nn.Module) -> PruningPlan:
    settings = Prune(criterion="magnitude", balance="lamp", params=0.5)
    return plan(tiny, magnitude(layer_weights(tiny)), SHAPE, *settings.parts)


def test_a_pruned_network_agrees_with_the_masked_one(tiny: nn.Module, chosen: PruningPlan) -> None:
    tiny.train()
    smaller = prune(tiny, chosen)
    found = check_pruned(tiny, smaller, channel_graph(tiny), chosen.kept, example_images(tiny, SHAPE))
    assert found.difference < 1e-5
    assert tiny.training
    assert smaller.training
    assert not any(module._forward_hooks for module in (*tiny.modules(), *smaller.modules()))


def _wrong_rows(function: Callable[..., None]) -> Callable[..., None]:
    def select(module: nn.Module, name: str, axis: int, indices: list[int]) -> None:
        function(module, name, axis, indices[::-1] if isinstance(module, nn.BatchNorm2d) else indices)

    return select


def _wrong_columns(function: Callable[..., None]) -> Callable[..., None]:
    def select(module: nn.Module, name: str, axis: int, indices: list[int]) -> None:
        function(module, name, axis, indices[::-1] if axis == 1 else indices)

    return select


def _stretched(_: object) -> Callable[..., Any]:
    return lambda left, right, width: UnionAdd(left[::-1], right, width)


@pytest.mark.parametrize(
    ("name", "break_it", "where"),
    [
        ("_select_", _wrong_rows, r"They differ from bn1 on"),
        ("_select_", _wrong_columns, r"They differ from conv1 on"),
        ("UnionAdd", _stretched, r"They differ from block"),
    ],
)
def test_broken_surgery_is_seen(
    tiny: nn.Module, chosen: PruningPlan, monkeypatch, name: str, break_it: Any, where: str
) -> None:
    monkeypatch.setattr(surgery, name, break_it(getattr(surgery, name)))
    with pytest.raises(MismatchError, match=f"the pruned network and the masked original give different .* {where}"):
        prune(tiny, chosen)


def test_a_plan_without_a_shape_is_compared_on_the_images_that_are_given(
    tiny: nn.Module, chosen: PruningPlan, monkeypatch
) -> None:
    monkeypatch.setattr(surgery, "_select_", _wrong_columns(surgery._select_))
    prune(tiny, chosen.kept)  # no images at hand
    with pytest.raises(MismatchError, match="the pruned network and the masked original"):
        prune(tiny, chosen.kept, example=example_images(tiny, SHAPE))


def test_scrambled_unions_are_not_compared(tiny: nn.Module, chosen: PruningPlan) -> None:
    """As published, readers of a stream get other channels on purpose."""
    prune(tiny, chosen, order="set")


class AsksForItsType(nn.Module):
    """torch.fx answers otherwise than a tensor does: a layer is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.extra = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.fc = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        if isinstance(x, Tensor):
            x = self.extra(x).relu()
        return self.fc(x.mean((2, 3)))


def test_a_network_that_is_misread_has_no_plan_and_is_not_pruned() -> None:
    torch.manual_seed(0)
    model = AsksForItsType()
    scores = magnitude(layer_weights(model))
    settings = Prune(criterion="magnitude", params=0.5)
    with pytest.raises(
        MismatchError, match=r"the graph that torch\.fx traced of AsksForItsType computes something else"
    ):
        plan(model, scores, SHAPE, *settings.parts)
    kept = {"stem": [0, 1], "fc": [0, 1, 2, 3]}
    with pytest.raises(
        MismatchError, match=r"the graph that torch\.fx traced of AsksForItsType computes something else"
    ):
        prune(model, kept, example=torch.randn(2, *SHAPE))


def test_a_planner_says_how_well_the_network_was_read(tiny: nn.Module) -> None:
    found = Planner(tiny, SHAPE, example=torch.randn(4, *SHAPE)).reading
    assert found.images == 4
    assert found.difference < 1e-5


@pytest.mark.filterwarnings("ignore:The TorchScript type system")  # torch says so of its own GraphModule
def test_a_pruned_network_with_unions_can_be_scripted(tiny: nn.Module, chosen: PruningPlan) -> None:
    smaller = prune(tiny, chosen)
    assert any(isinstance(module, UnionAdd) for module in smaller.modules())
    images = torch.randn(2, *SHAPE)
    assert torch.allclose(torch.jit.script(smaller)(images), smaller(images), atol=1e-6)


class TwoHeads(nn.Module):
    """Large boxes beside small confidences, the latter misread."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.boxes = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6, 4)
        self.one, self.two = nn.Linear(6, 2), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.body(x).relu().mean((2, 3))
        return {"boxes": 1e4 * self.boxes(x), "confidence": (self.one if isinstance(x, Tensor) else self.two)(x)}


def test_a_small_output_beside_a_large_one_is_compared_on_its_own_scale() -> None:
    torch.manual_seed(0)
    model = TwoHeads()
    with pytest.raises(MismatchError, match=r"the graph that torch\.fx traced of TwoHeads computes something else"):
        check_reading(model, torch.randn(2, *SHAPE))


def test_an_order_that_is_none_is_refused(tiny: nn.Module, chosen: PruningPlan) -> None:
    with pytest.raises(PlanError, match="order: expected one of sorted, set, got 'foo'"):
        prune(tiny, chosen, order="foo")  # type: ignore[arg-type]


class PlainSubclass(nn.Conv2d):
    """Computes what its base does."""


def test_a_subclass_that_computes_as_its_base_is_pruned(tiny: nn.Module) -> None:
    tiny.block1.conv1.__class__ = PlainSubclass
    settings = Prune(criterion="magnitude", params=0.5)
    smaller = prune(tiny, plan(tiny, magnitude(layer_weights(tiny)), SHAPE, *settings.parts))
    assert isinstance(smaller.get_submodule("block1.conv1"), PlainSubclass)


def test_nothing_is_made_in_inference_mode(tiny: nn.Module, chosen: PruningPlan) -> None:
    with torch.inference_mode(), pytest.raises(ArchitectureError, match=r"inside torch\.inference_mode"):
        prune(tiny, chosen)


def test_a_network_that_cannot_be_copied_is_refused_by_name(tiny: nn.Module, chosen: PruningPlan) -> None:
    tiny.kept = tiny(torch.randn(2, *SHAPE))  # with its graph of gradients
    with pytest.raises(ArchitectureError, match="TinyResNet cannot be copied"):
        prune(tiny, chosen)
