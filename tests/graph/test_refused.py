"""Networks that pruning refuses."""

import operator
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils import spectral_norm as old_spectral_norm
from torch.nn.utils.parametrizations import spectral_norm

from ehap.errors import ArchitectureError, PlanError
from ehap.graph.channels import channel_graph
from ehap.graph.counting import Counter
from ehap.graph.union import UnionAdd
from ehap.pruning import prune
from ehap.repair.reconstruction import reconstruct
from tests.graph.networks import (
    Adds,
    Branching,
    Flagged,
    Moody,
    Overwriting,
    Written,
    flat_and_then_overwritten,
    hooked,
    linear_behind,
    network_of,
)


def test_what_pruning_does_not_know_is_named() -> None:
    with pytest.raises(
        ArchitectureError, match=r"^1: PReLU\(num_parameters=4\) is not an operation that pruning knows"
    ):
        channel_graph(network_of(nn.PReLU(4)))
    with pytest.raises(ArchitectureError, match=r"^view: view is not .* To flatten, write x.flatten\(1\)\.$"):
        channel_graph(Written(lambda x: F.avg_pool2d(x, 8).view(-1, 4)))
    with pytest.raises(ArchitectureError, match=r"Sigmoid\(\) is not an operation that pruning knows"):
        channel_graph(network_of(nn.Sigmoid()))
    with pytest.raises(ArchitectureError, match="the forward pass of Sequential cannot be traced"):
        channel_graph(nn.Sequential(nn.Conv2d(3, 4, 3), Branching()))
    shared = nn.Conv2d(4, 4, 3, padding=1)
    with pytest.raises(ArchitectureError, match="is used twice in the forward pass"):
        channel_graph(network_of(nn.Sequential(shared, shared)))


@pytest.mark.parametrize(
    ("end", "name"),
    [
        (lambda x: F.avg_pool2d(x, 8).view(-1, 4), "view"),
        (lambda x: F.avg_pool2d(x, 8).view(x.size(1), -1), "view"),
        (lambda x: F.avg_pool2d(x, 8).view(x.shape[0], 4), "view"),
        (lambda x: F.avg_pool2d(x, 8).view(size=(x.shape[0], -1)), "view"),
        (lambda x: torch.reshape(F.avg_pool2d(x, 8), (-1, 4)), "reshape"),
        (lambda x: F.avg_pool2d(x, 8).flatten(), "flatten"),
        (lambda x: x.mean(1), "mean"),
        (lambda x: x.mean((1, 2)), "mean"),
        (lambda x: x.mean((2, 3), dtype=torch.float64), "mean"),
        (lambda x: torch.sigmoid(x).mean((2, 3)), "sigmoid"),
    ],
)
def test_what_mixes_channels_or_images_is_refused(end: Callable[[torch.Tensor], torch.Tensor], name: str) -> None:
    with pytest.raises(ArchitectureError, match=f": {name} is not an operation that pruning knows"):
        channel_graph(Written(end))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Adds(lambda x, y: torch.add(x, y, alpha=0.5)), "add is not an operation that pruning knows"),
        (Adds(lambda x, y: torch.add(input=x, other=y)), "add is not an operation that pruning knows"),
        (Adds(torch.add, last=nn.Hardtanh(0.5, 1.0)), r"last: expected an activation that maps 0 to 0"),
        (Adds(torch.add, shared=True), "three: is used twice in the forward pass, or shares a parameter"),
        (Adds(lambda x, y: torch.flatten(x, 1) + torch.flatten(y, 1)), "expected an add of two feature maps"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(2)), r"Flatten\(start_dim=2, end_dim=-1\) is not an operation"),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), "at least one convolution"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(6, 2)), r"1: expected vectors, behind a flatten, got maps from"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(6, 2)), r"a multiple of 4 features from \w+, got 6"),
        (linear_behind(nn.ReLU(), nn.Linear(10, 6)), r"expected 5 features from \w+, got 10"),
        (linear_behind(nn.Flatten(), nn.Linear(7, 6)), r"expected 5 features from \w+, got 7"),
        (linear_behind(nn.Conv2d(5, 6, 1)), r"3: expected maps, got vectors from"),
        (linear_behind(nn.BatchNorm2d(5)), r"3: expected maps, got vectors from"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(5, 6, 3)), r"1: expects 5 channels, but \w+ gives 4"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(5)), r"1: expects 5 channels, but \w+ gives 4"),
        (
            nn.Sequential(spectral_norm(nn.Conv2d(3, 4, 3))),
            "0: expected weight to be a parameter, but it",
        ),
        (
            nn.Sequential(old_spectral_norm(nn.Conv2d(3, 4, 3))),
            "0: expected weight to be a parameter",
        ),
        (Adds(lambda x, y: F.relu(x, True) + y + x), r"add_1: reads \w+ after relu has overwritten"),
        (
            Adds(lambda x, y: F.relu(x, inplace=True) + y + x),
            r"add_1: reads \w+ after relu has overwritten",
        ),
        (Adds(lambda x, y: operator.iadd(x, y) + x), r"add: reads \w+ after iadd has overwritten"),
        (Adds(lambda x, y: x.add_(y) + x), r"add: reads \w+ after iadd has overwritten"),
        (Adds(lambda x, y: x.relu_() + y + x), r"add_1: reads \w+ after relu_\w* has overwritten"),
        (Moody(), r"the forward pass of Moody is another one in train mode than in eval mode"),
        (Flagged(), r"flag: expected a network of one input; wrap one whose other arguments have defaults"),
        (hooked(""), r"Sequential: expected no forward hooks"),
        (hooked("0"), r"0: expected no forward hooks"),
        (Adds(flat_and_then_overwritten), r"last: reads flatten after iadd has overwritten"),
        (Overwriting(torch.add, last=nn.Identity()), r"iadd_1: reads last after iadd has overwritten"),
        (Overwriting(torch.add, last=nn.Dropout()), r"iadd_1: reads last after iadd has overwritten"),
    ],
)
def test_what_would_not_prune_right_is_refused(model: nn.Module, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        channel_graph(model)


def test_an_add_that_stretches_one_side_is_refused() -> None:
    model = Adds(lambda x, y: F.relu(x) + y)
    model.three = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1))  # type: ignore[assignment]
    graph = channel_graph(model)
    with pytest.raises(ArchitectureError, match=r"expected an add of equal shapes, got \[\(4, 8, 8\), \(4, 1, 1\)\]"):
        Counter(model, graph, (3, 8, 8))
    kept = {layer: list(range(width)) for layer, width in graph.widths().items()} | {"two": [1, 2], "three.1": [0, 1]}
    with pytest.raises(ArchitectureError, match="expected an add of equal shapes"):
        reconstruct(model, prune(model, kept), kept, torch.rand(4, 3, 8, 8))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 4, 4)])
def test_images_that_a_network_cannot_take_are_refused_by_their_shape(shape: tuple[int, int, int]) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 5), nn.Flatten(), nn.Linear(64, 2)).train()
    with pytest.raises(PlanError) as error:
        Counter(model, channel_graph(model), shape)
    assert str(error.value).startswith(
        f"expected the shape (C, H, W) of an image that the network takes, got {shape} ("
    )
    assert all(module.training for module in model.modules())
    for other in ((8, 8), 8):
        with pytest.raises(PlanError, match=r"expected the shape \(C, H, W\) of an image, got"):
            Counter(model, channel_graph(model), other)  # type: ignore[arg-type]


class _Union(nn.Module):
    """Two convolutions, whose channels a union puts at given positions."""

    def __init__(self, left: list[int], right: list[int], width: int) -> None:
        super().__init__()
        self.a, self.b, self.last = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1), nn.Conv2d(width, 4, 1)
        self.add = UnionAdd(left, right, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, 3, H, W) to (N, 4, H, W)."""
        found: torch.Tensor = self.last(self.add(self.a(x), self.b(x)))
        return found


@pytest.mark.parametrize(
    ("left", "right", "width"), [([1, 0], [0, 1], 2), ([0, 0], [0, 1], 2), ([2, 0], [1, 2], 3), ([0, 1], [0, 2], 4)]
)
def test_a_union_whose_positions_are_not_sorted_or_leave_some_out_is_named(
    left: list[int], right: list[int], width: int
) -> None:
    channel_graph(_Union([0, 1], [1, 2], 3))
    with pytest.raises(ArchitectureError, match=r"^add: expected sorted positions of its inputs that cover a sum of"):
        channel_graph(_Union(left, right, width))


def test_a_union_whose_inputs_have_another_width_is_named() -> None:
    with pytest.raises(ArchitectureError, match=r"^add: expected inputs of \[1, 2\] channels, got \[2, 2\]"):
        channel_graph(_Union([0], [0, 1], 2))
