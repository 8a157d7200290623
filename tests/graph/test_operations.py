import copy
import operator
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils import spectral_norm as old_spectral_norm
from torch.nn.utils.parametrizations import spectral_norm
from torchvision.models import mobilenet_v2

from ehap.errors import ArchitectureError, PlanError
from ehap.evaluation import flops, parameters
from ehap.graph.channels import channel_graph
from ehap.graph.counting import Counter, Size
from ehap.pruning import prune
from ehap.repair.reconstruction import reconstruct
from tests.pruning.plans import difference, random_plan, sees_images


def _network(middle: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), middle, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


class _Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


def test_what_pruning_does_not_know_is_named() -> None:
    with pytest.raises(
        ArchitectureError, match=r"^1: PReLU\(num_parameters=4\) is not an operation that pruning knows"
    ):
        channel_graph(_network(nn.PReLU(4)))
    with pytest.raises(ArchitectureError, match=r"^view: view is not .* To flatten, write x.flatten\(1\)\.$"):
        channel_graph(_Written(lambda x: F.avg_pool2d(x, 8).view(-1, 4)))
    with pytest.raises(ArchitectureError, match=r"Sigmoid\(\) is not an operation that pruning knows"):
        channel_graph(_network(nn.Sigmoid()))
    with pytest.raises(ArchitectureError, match="the forward pass of Sequential cannot be traced"):
        channel_graph(nn.Sequential(nn.Conv2d(3, 4, 3), _Branching()))
    shared = nn.Conv2d(4, 4, 3, padding=1)
    with pytest.raises(ArchitectureError, match="is used twice in the forward pass"):
        channel_graph(_network(nn.Sequential(shared, shared)))


class _Written(nn.Module):
    """A residual network that comes from its maps, 4 channels of 8 × 8, to vectors in a way of its own."""

    def __init__(self, end: Callable[[torch.Tensor], torch.Tensor], features: int = 4) -> None:
        super().__init__()
        self.one, self.bn = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.two, self.fc = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(features, 3)
        self.end = end

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn(self.one(x)).relu()
        return self.fc(self.end(x.add(self.two(x))))


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


class _Adds(nn.Module):
    """A residual network of one add, as a function of what it is given."""

    def __init__(self, add: Callable[..., torch.Tensor], shared: bool = False, last: nn.Module | None = None) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.three = nn.Conv2d(4, 4, 3, padding=1)
        if shared:
            self.three.weight = self.two.weight
        self.add, self.last = add, last or nn.Identity()
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.one(x)
        x = self.last(self.add(self.two(x), self.three(x)))
        return self.fc(torch.flatten(self.pool(x), 1))


class _OtherFirst(_Adds):
    """What is registered first is not what is called first."""

    def __init__(self) -> None:
        super().__init__(torch.add)
        self.one, self.two = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.flatten(self.pool(self.one(self.two(x))), 1))


class _Overwriting(_Adds):
    """Sums that are written over one of their sides, as torchvision's ResNets write theirs, or not (``plain``)."""

    plain = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.one(x)
        shortcut = self.last(x)
        if self.plain:
            x = x + self.two(x)
            x = x + self.three(shortcut)
        else:
            x += self.two(x)
            x += self.three(shortcut) if isinstance(self.last, nn.ReLU) else shortcut
        return self.fc(torch.flatten(self.pool(x), 1))


def _linear_behind(*modules: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten(), nn.Linear(4, 5), *modules)


class _Moody(_Adds):
    """Another network in train mode."""

    def __init__(self) -> None:
        super().__init__(torch.add)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.one(x)
        x = F.relu(self.two(x)) if self.training else self.two(x)
        return self.fc(torch.flatten(self.pool(x), 1))


class _Flagged(_Adds):
    """A network with an argument that nobody has to give."""

    def __init__(self) -> None:
        super().__init__(torch.add)

    def forward(self, x: torch.Tensor, flag: bool = False) -> torch.Tensor:
        return super().forward(x)


def _hooked(module: str) -> nn.Module:
    network = _network(nn.Identity())
    network.get_submodule(module).register_forward_hook(lambda module, inputs, output: output + 1)
    return network


def _flat_and_then_overwritten(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    flat = torch.flatten(x, 1)
    x += y
    return flat


@pytest.mark.parametrize("way", range(len(WAYS)))
def test_the_ways_in_which_networks_are_written_are_known(way: int, enliven: Callable[[nn.Module], None]) -> None:
    torch.manual_seed(way)
    model = _Written(WAYS[way])
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
    model = _Written(lambda x: x.view(x.size(0), -1), features=256).double().eval()
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
        channel_graph(_Written(end))


@pytest.mark.parametrize("seed", range(4))
def test_sums_that_overwrite_one_of_their_sides_are_pruned_right(seed: int) -> None:
    torch.manual_seed(seed)
    model = _Overwriting(torch.add, last=nn.ReLU()).double()
    twin = copy.deepcopy(model)
    twin.plain = True
    images = torch.randn(9, 3, 8, 8, dtype=torch.float64)
    kept = random_plan(model, seed)
    assert difference(model, kept, images) < 1e-9
    found, expected = (reconstruct(each, prune(each, kept), kept, images).network for each in (model, twin))
    assert all(torch.equal(tensor, expected.state_dict()[name]) for name, tensor in found.state_dict().items())
    torch.testing.assert_close(found(images), expected(images))


def test_layers_are_pruned_in_the_order_of_the_forward_pass() -> None:
    model = _OtherFirst()
    graph = channel_graph(model)
    assert list(graph.widths()) == ["two", "one", "fc"]
    pruned = prune(model, {"two": [0, 3], "one": [1], "fc": [0, 1]})
    assert (pruned.two.weight.shape[:2], pruned.one.weight.shape[:2]) == ((2, 3), (1, 2))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (_Adds(lambda x, y: torch.add(x, y, alpha=0.5)), "add is not an operation that pruning knows"),
        (_Adds(lambda x, y: torch.add(input=x, other=y)), "add is not an operation that pruning knows"),
        (_Adds(torch.add, last=nn.Hardtanh(0.5, 1.0)), r"last: expected an activation that maps 0 to 0"),
        (_Adds(torch.add, shared=True), "three: is used twice in the forward pass, or shares a parameter"),
        (_Adds(lambda x, y: torch.flatten(x, 1) + torch.flatten(y, 1)), "expected an add of two feature maps"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(2)), r"Flatten\(start_dim=2, end_dim=-1\) is not an operation"),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), "at least one convolution"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(6, 2)), r"1: expected vectors, behind a flatten, got maps from"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(6, 2)), r"a multiple of 4 features, .*, got 6"),
        (_linear_behind(nn.ReLU(), nn.Linear(10, 6)), r"expected 5 features, of which \w+ consists, got 10"),
        (_linear_behind(nn.Flatten(), nn.Linear(7, 6)), r"expected 5 features, of which \w+ consists, got 7"),
        (_linear_behind(nn.Conv2d(5, 6, 1)), r"3: expected maps, got vectors from"),
        (_linear_behind(nn.BatchNorm2d(5)), r"3: expected maps, got vectors from"),
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
        (_Adds(lambda x, y: F.relu(x, True) + y + x), r"add_1: reads \w+ after relu has overwritten"),
        (
            _Adds(lambda x, y: F.relu(x, inplace=True) + y + x),
            r"add_1: reads \w+ after relu has overwritten",
        ),
        (_Adds(lambda x, y: operator.iadd(x, y) + x), r"add: reads \w+ after iadd has overwritten"),
        (_Adds(lambda x, y: x.add_(y) + x), r"add: reads \w+ after iadd has overwritten"),
        (_Adds(lambda x, y: x.relu_() + y + x), r"add_1: reads \w+ after relu_\w* has overwritten"),
        (_Moody(), r"the forward pass of _Moody is another one in train mode than in eval mode"),
        (_Flagged(), r"flag: expected a network of one input; wrap one whose other arguments have defaults"),
        (_hooked(""), r"Sequential: expected no forward hooks"),
        (_hooked("0"), r"0: expected no forward hooks"),
        (_Adds(_flat_and_then_overwritten), r"last: reads flatten after iadd has overwritten"),
        (_Overwriting(torch.add, last=nn.Identity()), r"iadd_1: reads last after iadd has overwritten"),
        (_Overwriting(torch.add, last=nn.Dropout()), r"iadd_1: reads last after iadd has overwritten"),
    ],
)
def test_what_would_not_prune_right_is_refused(model: nn.Module, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        channel_graph(model)


def test_an_add_that_stretches_one_side_is_refused() -> None:
    model = _Adds(lambda x, y: F.relu(x) + y)
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
