import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torchvision.models import mobilenet_v2

from ehap.evaluation import flops, parameters
from ehap.graph.channels import channel_graph
from ehap.graph.counting import Counter, Size
from ehap.pruning import prune
from ehap.repair.reconstruction import reconstruct
from tests.graph.networks import (
    OtherFirst,
    Overwriting,
    Written,
)
from tests.pruning.plans import difference, random_plan, sees_images

WAYS: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = (
    lambda x: F.avg_pool2d(x, 8).view(x.size(0), -1),
    lambda x: F.adaptive_avg_pool2d(x, (1, 1)).reshape(x.shape[0], -1),
    lambda x: F.max_pool2d(x, 8).view((x.size()[0], -1)),
    lambda x: F.avg_pool2d(F.hardswish(x), 8).flatten(start_dim=1),
    lambda x: torch.flatten(x.mean([-1, -2], keepdim=True), start_dim=1),
    lambda x: F.silu(x.mean((2, 3))),
    lambda x: torch.reshape(F.avg_pool2d(x.relu_().tanh(), 8), (x.size(0), -1)),
    lambda x: F.avg_pool2d(x.contiguous(), 8).flatten(-3, 3),
    lambda x: torch.mean(F.gelu(F.leaky_relu(F.elu(F.relu6(x)), 0.1)), dim=(2, 3)),
)


@pytest.mark.parametrize("way", range(len(WAYS)))
def test_the_ways_in_which_networks_are_written_are_known(way: int, enliven: Callable[[nn.Module], None]) -> None:
    torch.manual_seed(way)
    model = Written(WAYS[way])
    enliven(model)
    model.double().eval()
    images = torch.randn(7, 3, 8, 8, dtype=torch.float64)
    for seed in range(3):
        kept = random_plan(model, seed)
        assert difference(model, kept, images) < 1e-9
    built = prune(model, kept)
    assert Counter(model, channel_graph(model), (3, 8, 8))(kept) == Size(
        parameters(built), flops(built.float(), (3, 8, 8))
    )
    whole = {layer: list(range(width)) for layer, width in channel_graph(model).widths().items()}
    repaired = reconstruct(model, prune(model, whole), whole, images).network
    torch.testing.assert_close(repaired(images), model(images))


def test_vectors_of_all_places_are_known_as_views() -> None:
    model = Written(lambda x: x.view(x.size(0), -1), features=256).double().eval()
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert difference(model, random_plan(model, 0), images) < 1e-9


def test_torchvisions_mobilenet_is_pruned_right(enliven: Callable[[nn.Module], None]) -> None:
    model = mobilenet_v2(width_mult=0.25, num_classes=10)
    enliven(model)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.constant_(norm.weight, 2.5)  # or else little of the images arrives at the end
    model.double().eval()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for seed in range(2):
        kept = random_plan(model, seed)
        assert sees_images(model, kept, images)
        assert difference(model, kept, images) < 1e-9
    built = prune(model, kept).float()
    assert Counter(model, channel_graph(model), (3, 32, 32))(kept) == Size(parameters(built), flops(built, (3, 32, 32)))


@pytest.mark.parametrize("seed", range(4))
def test_sums_that_overwrite_one_of_their_sides_are_pruned_right(seed: int) -> None:
    torch.manual_seed(seed)
    model = Overwriting(torch.add, last=nn.ReLU()).double()
    twin = copy.deepcopy(model)
    twin.plain = True
    images = torch.randn(9, 3, 8, 8, dtype=torch.float64)
    kept = random_plan(model, seed)
    assert difference(model, kept, images) < 1e-9
    found, expected = (reconstruct(each, prune(each, kept), kept, images).network for each in (model, twin))
    assert all(torch.equal(tensor, expected.state_dict()[name]) for name, tensor in found.state_dict().items())
    torch.testing.assert_close(found(images), expected(images))


def test_layers_are_pruned_in_the_order_of_the_forward_pass() -> None:
    model = OtherFirst()
    graph = channel_graph(model)
    assert list(graph.widths()) == ["two", "one", "fc"]
    pruned = prune(model, {"two": [0, 3], "one": [1], "fc": [0, 1]})
    assert (pruned.two.weight.shape[:2], pruned.one.weight.shape[:2]) == ((2, 3), (1, 2))
