"""A pruned network with plain sums computes what the one with unions does."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from ehap.data import CIFAR_SHAPE
from ehap.graph.channels import channel_graph
from ehap.graph.counting import Counter
from ehap.graph.union import UnionAdd
from ehap.models import build_model
from ehap.pruning import mask_, placements, prune, widened
from ehap.pruning.padding import layout
from tests.pruning.plans import random_plan

Kept = dict[str, list[int]]


@pytest.mark.parametrize(("name", "round_to"), [("resnet20", 1), ("resnet20", 16), ("wrn28_8", 4)])
def test_a_widened_network_has_plain_sums_of_aligned_widths(
    name: str, round_to: int, enliven: Callable[[nn.Module], None]
) -> None:
    model = build_model(name, 10, seed=0)
    enliven(model)
    small = prune(model.eval(), random_plan(model, round_to))
    wide = widened(small, round_to)
    assert any(isinstance(module, UnionAdd) for module in small.modules())
    assert not any(isinstance(module, UnionAdd) for module in wide.modules())
    widths = channel_graph(wide).widths()
    assert all(width % round_to == 0 for layer, width in widths.items() if layer != "fc")
    every = {layer: range(width) for layer, width in channel_graph(small).widths().items()}
    wide_again = {layer: range(width) for layer, width in widths.items()}
    executed = Counter(wide, channel_graph(wide), CIFAR_SHAPE)(wide_again)
    for network, plan in ((small, every), (model, random_plan(model, round_to))):
        graph = channel_graph(network)
        assert Counter(network, graph, CIFAR_SHAPE).of_widths(layout(graph, plan, round_to).widths) == executed
    images = torch.randn(2, *CIFAR_SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(wide(images), small(images), rtol=1e-4, atol=1e-4)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet20": lambda: build_model("resnet20", 10, seed=0),
    "downsampling blocks": lambda: ResNet(BasicBlock, [2, 1, 1, 1], num_classes=10),
    "bottlenecks": lambda: ResNet(Bottleneck, [1, 2, 1, 1], num_classes=10),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_pruned_twice_is_masked_twice_and_widened_as_one_pruned_once(
    name: str, enliven: Callable[[nn.Module], None]
) -> None:
    model = NETWORKS[name]().eval()
    enliven(model)
    first = random_plan(model, 1)
    small = prune(model, first)
    second = random_plan(small, 2)
    twice = prune(small, second)
    once = {layer: [first[layer][place] for place in places] for layer, places in second.items()}
    masked = copy.deepcopy(model)
    mask_(masked, first)
    mask_(masked, once)
    masked_small = copy.deepcopy(small)
    mask_(masked_small, second)
    images = torch.randn(2, *CIFAR_SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        answers = twice(images)
        assert torch.equal(answers, prune(model, once)(images))
        for each in (masked, masked_small, widened(twice, 8)):
            torch.testing.assert_close(each(images), answers, rtol=1e-4, atol=1e-5 * float(answers.abs().max()))


def test_placements_say_where_weights_lie(tiny: nn.Module) -> None:
    small = prune(tiny, random_plan(tiny, 3))
    whole, places = widened(small, 4), placements(small, 4)
    assert set(places) == set(channel_graph(small).widths())
    for layer, place in places.items():
        weight = whole.get_parameter(f"{layer}.weight")
        assert weight.shape[:2] == place.size
        found = weight[list(place.rows)][:, list(place.columns)]
        assert torch.equal(found, small.get_parameter(f"{layer}.weight"))
        assert len(set(place.rows)) == len(place.rows)
        assert int((weight != 0).sum()) == int((found != 0).sum())


def test_what_is_not_pruned_stays_as_it_is(tiny: nn.Module) -> None:
    assert channel_graph(widened(tiny)).widths() == channel_graph(tiny).widths()
    assert all(torch.equal(first, widened(tiny).state_dict()[name]) for name, first in tiny.state_dict().items())


class Grouped(nn.Module):
    """The input is added to a stream; convolutions of each channel by itself and in groups follow."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.wide = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 8, 1)
        self.alone, self.norm = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8)
        self.narrow, self.back = nn.Conv2d(8, 6, 1), nn.Conv2d(6, 8, 1)
        self.groups, self.fc = nn.Conv2d(8, 8, 3, groups=2), nn.Linear(8 * 36, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, 3, 8, 8) to (N, 5)."""
        wide = self.wide(x + self.stem(x)).relu()
        wide = wide + self.norm(self.alone(wide))
        back = self.back(self.narrow(wide).relu())
        return self.fc(self.groups(wide + back).relu().flatten(1))


def test_streams_of_the_input_the_output_and_groups_keep_their_width(enliven: Callable[[nn.Module], None]) -> None:
    model = Grouped().eval()
    enliven(model)
    kept = {name: list(range(width)) for name, width in channel_graph(model).widths().items()}
    kept |= {"stem": [1], "narrow": [0, 2, 5]}
    small = prune(model, kept)
    wide = widened(small, 16)
    widths = channel_graph(wide).widths()
    assert widths == {"stem": 3, "wide": 8, "narrow": 16, "back": 8, "groups": 8, "fc": 5}
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(wide(images), small(images), rtol=1e-4, atol=1e-5)
