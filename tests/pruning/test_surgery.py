import copy
from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from ehap.data import CIFAR_SHAPE
from ehap.errors import PlanError
from ehap.evaluation import flops, parameters
from ehap.graph.channels import channel_graph
from ehap.graph.counting import Counter, Size
from ehap.graph.layers import layer_weights
from ehap.graph.union import UnionAdd, unions_by_matrix
from ehap.models import MODELS, build_model
from ehap.pruning import mask_, plan, prune, random_scores
from ehap.pruning.plan import PruningPlan
from ehap.repair.reconstruction import reconstruct
from ehap.settings import Prune
from tests.pruning.plans import Kept, difference, random_plan, sees_images


@given(seed=st.integers(0, 2**31 - 1), few=st.booleans(), training=st.booleans(), frozen=st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pruned_equals_masked_for_every_plan(
    tiny: nn.Module, seed: int, few: bool, training: bool, frozen: bool
) -> None:
    images = torch.randn(3, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    model = copy.deepcopy(tiny).double().train(training)
    for norm in (model.block1.bn1, model.block2.bn2) if frozen else ():
        norm.eval()
    assert difference(model, random_plan(model, seed, few), images) < 1e-9


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_pruned_equals_masked_on_the_real_networks(
    name: str, few: bool, training: bool, enliven: Callable[[nn.Module], None]
) -> None:
    model = build_model(name, 10, seed=0)
    enliven(model)
    model.train(training)
    for module in model.modules() if few else ():  # or else little of an image comes through a chain of single channels
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.abs() * module.in_channels**0.5
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for seed in (7, 8, 9) if name == "resnet20" else (7,):
        kept = random_plan(model, seed, few)
        with torch.no_grad():
            assert sees_images(model, kept, images)
            assert difference(model, kept, images) < 1e-4
            assert difference(copy.deepcopy(model).double(), kept, images.double()) < 1e-9


def test_a_pruned_network_exports(enliven: Callable[[nn.Module], None]) -> None:
    model = build_model("resnet20", 10, seed=0)
    enliven(model)
    pruned = prune(model, random_plan(model, 3)).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    exported = torch.export.export(pruned, (images,))
    torch.testing.assert_close(exported.module()(images), pruned(images))
    called = {node.target for node in exported.graph.nodes if node.op == "call_function"}
    assert torch.ops.aten.index_add.default in called  # positions are constants of the graph


@pytest.mark.parametrize("name", MODELS)
def test_counting_agrees_with_the_network_that_is_built(name: str) -> None:
    model = build_model(name, 100, seed=0)
    counter = Counter(model, channel_graph(model), CIFAR_SHAPE)
    for seed in range(3):
        kept = random_plan(model, seed)
        built = prune(model, kept)
        assert counter(kept) == Size(parameters(built), flops(built, CIFAR_SHAPE))


def test_a_stream_carries_the_sorted_union_of_its_branches(tiny: nn.Module) -> None:
    kept = {name: list(range(width)) for name, width in channel_graph(tiny).widths().items()}
    kept |= {"conv1": [0, 3], "block1.conv2": [1, 3]}
    pruned = prune(tiny, kept)
    add = next(module for module in pruned.modules() if isinstance(module, UnionAdd))
    assert (add.width, add.left.tolist(), add.right.tolist()) == (3, [1, 2], [0, 2])
    assert pruned.get_submodule("block2.conv1").in_channels == 3


def test_in_the_published_order_readers_of_a_scrambled_stream_get_other_channels(
    tiny: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    kept = {name: list(range(width)) for name, width in channel_graph(tiny).widths().items()}
    few = kept | {"conv1": [1], "block1.conv2": [0, 3]}
    assert list({0, 3} | {1}) == [0, 1, 3]  # small sets of small numbers are sorted: nothing is scrambled
    assert torch.equal(prune(tiny, few, "set")(batch[0]), prune(tiny, few)(batch[0]))
    model = build_model("resnet20", 10, seed=0).eval()
    kept = {name: list(range(width)) for name, width in channel_graph(model).widths().items()}
    kept |= {"conv1": [8], "layer1.0.conv2": [1]}
    assert list({1} | {8}) == [8, 1]  # in a table of eight places 8 stands before 1
    images = torch.randn(2, *CIFAR_SHAPE, generator=torch.Generator().manual_seed(0))
    right, published = prune(model, kept), prune(model, kept, "set")
    adds = [next(each for each in one.modules() if isinstance(each, UnionAdd)) for one in (right, published)]
    assert [(add.left.tolist(), add.right.tolist()) for add in adds] == [([0], [1]), ([1], [0])]
    assert not torch.allclose(right(images), published(images), rtol=1e-3)
    planned = PruningPlan(kept, channel_graph(model).widths(), 0, 0, 0, 0, order="set")
    assert torch.equal(prune(model, planned)(images), published(images))
    with pytest.raises(PlanError, match="expected a network whose residual sums carry sorted channels"):
        reconstruct(model, published, kept, images)
    again = {name: list(range(width)) for name, width in channel_graph(published).widths().items()}
    again |= {"layer1.1.conv2": [0], "layer1.1.conv1": [2, 3]}
    masked = copy.deepcopy(published)
    mask_(masked, again)
    torch.testing.assert_close(prune(published, again)(images), masked(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [torch.tensor, numpy.array, tuple])
def test_channels_may_be_tensors_and_arrays(
    tiny: nn.Module, batch: tuple[torch.Tensor, torch.Tensor], kind: Callable[[list[int]], Any]
) -> None:
    kept = random_plan(tiny, 5)
    given = {layer: kind(channels) for layer, channels in kept.items()}
    assert torch.equal(prune(tiny, given)(batch[0]), prune(tiny, kept)(batch[0]))
    masks = [copy.deepcopy(tiny) for _ in range(2)]
    for network, channels in zip(masks, (given, kept), strict=True):
        mask_(network, channels)
    for name, tensor in masks[0].state_dict().items():
        assert torch.equal(tensor, masks[1].state_dict()[name])


def test_keeping_everything_changes_nothing(tiny: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    kept = {name: list(range(width)) for name, width in channel_graph(tiny).widths().items()}
    pruned = prune(tiny, kept)
    assert torch.equal(pruned(batch[0]), tiny(batch[0]))
    assert not any(isinstance(module, UnionAdd) for module in pruned.modules())


def test_the_original_is_not_changed_and_the_mode_is_kept(tiny: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in tiny.state_dict().items()}
    pruned = prune(tiny.train(), random_plan(tiny, 0))
    assert pruned.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv1": []}, "conv1: expected sorted channels out of 0 to 3, at least one, got"),
        ({"conv1": [0, 4]}, "conv1: expected sorted channels out of 0 to 3"),
        ({"conv1": [2, 1]}, "conv1: expected sorted channels"),
        ({"fc": [0, 1]}, "fc: its rows are the network's outputs, or a group's, and must all stay"),
        ({"conv1": [0.0, 1.0]}, r"conv1: expected the indices of channels, whole numbers, got \[0.0, 1.0\]"),
        ({"conv1": torch.tensor([0.0])}, "conv1: expected the indices of channels, whole numbers, got tensor"),
        ({"conv1": torch.tensor([False, True])}, "conv1: expected the indices of channels, whole numbers, got tensor"),
        ({"conv1": [False, True]}, "conv1: expected the indices of channels, whole numbers"),
        ({"conv9": [0]}, "the plan is for another model: it and the model differ in the layers conv9"),
    ],
)
def test_a_wrong_plan_is_refused(tiny: nn.Module, change: Kept, message: str) -> None:
    kept = {name: list(range(width)) for name, width in channel_graph(tiny).widths().items()}
    with pytest.raises(PlanError, match=message):
        prune(tiny, kept | change)


class _Grouped(nn.Module):
    """A block whose middle convolution works in groups, beside a depthwise one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(6)
        self.middle = nn.Conv2d(6, 8, 3, padding=1, groups=2)
        self.last = nn.Conv2d(8, 6, 1)
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.depthwise(self.last(torch.relu(self.middle(self.bn(self.first(x))))))
        return self.fc(torch.flatten(self.pool(x), 1))


def test_groups_stay_whole_and_depthwise_convolutions_follow_what_they_read(
    enliven: Callable[[nn.Module], None],
) -> None:
    model = _Grouped()
    enliven(model)
    model.double().eval()
    graph = channel_graph(model)
    assert tuple(graph.unpruned()) == ("first", "middle", "fc")
    assert graph.widths() == {"first": 6, "middle": 8, "last": 6, "fc": 4}
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kept = {layer: list(range(width)) for layer, width in graph.widths().items()} | {"last": [0, 2, 5]}
    assert difference(model, kept, images) < 1e-9
    built = prune(model, kept).float()
    assert Counter(model, graph, (3, 8, 8))(kept) == Size(parameters(built), flops(built, (3, 8, 8)))
    with pytest.raises(
        PlanError, match=r"All channels stay of first, middle, fc: outputs, or of convolutions in groups\."
    ):
        plan(model, random_scores(layer_weights(model), 0), (3, 8, 8), *Prune(criterion="random", flops=0.1).parts)
    with pytest.raises(PlanError, match="middle: its rows are the network's outputs, or a group's"):
        prune(model, kept | {"middle": [0, 1]})


@pytest.mark.parametrize("seed", range(4))
def test_unions_by_matrix_give_the_same_sums_and_gradients_and_leave_no_trace(tiny: nn.Module, seed: int) -> None:
    pruned = prune(copy.deepcopy(tiny).double(), random_plan(tiny, seed)).train()
    twin = copy.deepcopy(pruned).to(memory_format=torch.channels_last)
    images = torch.randn(3, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    state = set(twin.state_dict())
    counted = flops(copy.deepcopy(pruned).float(), (3, 8, 8))
    with unions_by_matrix(twin):
        outputs = [pruned(images), twin(images)]
        assert set(twin.state_dict()) == state
        assert any(add.left_matrix is not None for add in twin.modules() if isinstance(add, UnionAdd))
    for output in outputs:
        output.square().sum().backward()
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-10, atol=1e-10)
    for one, other in zip(twin.parameters(), pruned.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-8, atol=1e-8)
    assert flops(twin.float(), (3, 8, 8)) == counted


def test_images_stay_as_they_are_whatever_a_network_writes_over(tiny: nn.Module) -> None:
    model = nn.Sequential(nn.ReLU(inplace=True), tiny)
    kept = {f"1.{name}": list(range(width)) for name, width in channel_graph(tiny).widths().items()}
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    reconstruct(model, prune(model, kept), kept, images)
    assert torch.equal(images, before)


def test_a_plan_of_other_widths_is_refused(tiny: nn.Module) -> None:
    kept = {name: list(range(width)) for name, width in channel_graph(tiny).widths().items()}
    kept |= {"conv1": [0, 3], "block1.conv2": [1, 3]}
    widths = channel_graph(tiny).widths()
    chosen = PruningPlan(kept, widths, 0, 0, 0, 0)
    prune(tiny, chosen)
    other = PruningPlan(kept, widths | {"conv1": 99}, 0, 0, 0, 0)
    with pytest.raises(PlanError, match=r"the plan is for another model: conv1 has \d+ channels, the plan's 99"):
        prune(tiny, other)
    with pytest.raises(PlanError, match=r"the plan is for another model: more has no channels, the plan's 3"):
        prune(tiny, PruningPlan(kept, widths | {"more": 3}, 0, 0, 0, 0))


def test_frozen_weights_stay_frozen_and_unions_go_to_the_networks_device(tiny: nn.Module) -> None:
    kept = {name: list(range(width)) for name, width in channel_graph(tiny).widths().items()}
    kept |= {"conv1": [0, 3], "block1.conv2": [1, 3]}
    frozen = copy.deepcopy(tiny)
    frozen.get_parameter("conv1.weight").requires_grad_(False)
    pruned = prune(frozen.to("meta"), kept)
    assert not pruned.get_parameter("conv1.weight").requires_grad
    assert {tensor.device.type for tensor in (*pruned.parameters(), *pruned.buffers())} == {"meta"}
