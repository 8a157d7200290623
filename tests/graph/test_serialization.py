"""Forward passes as JSON and back: every module and function, every argument, and what is refused."""

import copy
import inspect
import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from ehap.graph import catalog, operations
from ehap.graph.serialization import blank, check_shape, described, difference, fill_, weights_of
from ehap.graph.union import UnionAdd
from tests.graph.networks import Adds, Overwriting, Written, network_of

SHAPE = (3, 10, 10)
LAYERS: list[Callable[[], nn.Module]] = [
    lambda: nn.Conv2d(4, 4, 3),
    lambda: nn.Conv2d(4, 4, (3, 2), (2, 1), (1, 0), (1, 2), bias=False),
    lambda: nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
    lambda: nn.Conv2d(4, 4, 3, padding=(2, 1), padding_mode="circular", groups=4),
    lambda: nn.Conv2d(4, 4, 3, padding="same", padding_mode="replicate", dilation=2),
    lambda: nn.Conv2d(4, 4, 2, padding="valid", groups=2),
    lambda: nn.BatchNorm2d(4),
    lambda: nn.BatchNorm2d(4, eps=1e-3, momentum=None),
    lambda: nn.BatchNorm2d(4, momentum=0.03),
    lambda: nn.ReLU(inplace=True),
    nn.ReLU6,
    lambda: nn.ReLU6(inplace=True),
    lambda: nn.Hardtanh(-0.25, 3.5, inplace=True),
    lambda: nn.LeakyReLU(0.3, inplace=True),
    lambda: nn.ELU(0.7),
    lambda: nn.GELU("tanh"),
    nn.GELU,
    lambda: nn.SiLU(inplace=True),
    lambda: nn.Hardswish(inplace=True),
    nn.Tanh,
    nn.Identity,
    lambda: nn.Dropout(0.1, inplace=True),
    lambda: nn.Dropout2d(0.9),
    lambda: nn.MaxPool2d(3, 2, 1, 2, ceil_mode=True),
    lambda: nn.MaxPool2d((2, 3)),
    lambda: nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
    lambda: nn.AvgPool2d((2, 3), (1, 2), divisor_override=5),
    lambda: nn.AdaptiveAvgPool2d((3, None)),
    lambda: nn.AdaptiveAvgPool2d(2),
]


def written(network: nn.Module) -> nn.Module:
    """Return a network after it was written as JSON and read."""
    description = described(network)
    text = json.dumps(description, allow_nan=False)
    found = blank(json.loads(text))
    check_shape(found, list(SHAPE))
    fill_(found, weights_of(network, description))
    assert json.dumps(described(found)) == text
    return found


def images(count: int = 3) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
@pytest.mark.parametrize("layer", range(len(LAYERS)))
def test_every_module_comes_back_with_every_argument(layer: int, enliven: Callable[[nn.Module], None]) -> None:
    middle = LAYERS[layer]()
    network = network_of(middle)
    enliven(network)
    found = written(network)
    assert torch.equal(found(images()), network.eval()(images()))
    other = found.get_submodule("1")
    assert type(other) is type(middle)
    assert repr(other) == repr(middle)
    derived = set(vars(middle)) - {"_parameters", "_buffers", "training"}
    assert {name: vars(other)[name] for name in derived} == {name: vars(middle)[name] for name in derived}


def test_every_argument_of_every_constructor_is_in_the_table() -> None:
    elsewhere = {"device", "dtype", "min_value", "max_value", "args", "kwargs"}
    for name, (kind, arguments) in catalog.MODULES.items():
        wanted = set(inspect.signature(kind).parameters) - elsewhere
        # BatchNorm2d without a bias alone, of newer versions, has other parameters than the table's, and is refused
        assert wanted - ({"bias"} if name == "BatchNorm2d" else set()) == set(arguments)


def test_the_table_holds_what_pruning_knows() -> None:
    layers = {nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.Flatten, UnionAdd}
    assert {kind for kind, _ in catalog.MODULES.values()} == layers | set(operations.KEEPING_MODULES)
    functions = {*operations.KEEPING_FUNCTIONS, *operations.ADDS, torch.flatten, torch.mean}
    assert set(catalog.FUNCTIONS.values()) == functions


WAYS: list[Callable[[Tensor], Tensor]] = [
    lambda x: F.avg_pool2d(x, 10).view(x.size(0), -1),
    lambda x: F.adaptive_avg_pool2d(x, (1, 1)).reshape(x.shape[0], -1),
    lambda x: F.max_pool2d(x, 10, ceil_mode=True).flatten(1),
    lambda x: F.avg_pool2d(F.hardswish(x, inplace=True), 10).flatten(start_dim=1),
    lambda x: torch.flatten(x.mean([-1, -2], keepdim=True), start_dim=1),
    lambda x: F.silu(x.mean((2, 3))),
    lambda x: torch.reshape(F.avg_pool2d(x.relu_().tanh(), (10, 10)), (x.size(0), -1)),
    lambda x: torch.mean(F.gelu(F.leaky_relu(F.elu(F.relu6(x), 0.5), 0.1), approximate="tanh"), dim=(2, 3)),
]


@torch.no_grad()
@pytest.mark.parametrize("way", range(len(WAYS)))
def test_functions_and_methods_come_back(way: int, enliven: Callable[[nn.Module], None]) -> None:
    network = Written(WAYS[way])
    enliven(network)
    found = written(network.eval())
    assert torch.equal(found(images()), network(images()))


@torch.no_grad()
@pytest.mark.parametrize(
    "network", [Overwriting(torch.add, last=nn.ReLU()), Adds(torch.add), Adds(lambda x, y: x.add_(y))]
)
def test_sums_come_back_as_they_are_written(network: nn.Module) -> None:
    found = written(network.eval())
    assert torch.equal(found(images()), network(images()))


class Stages(nn.Module):
    """A network whose modules lie in containers of all kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()), nn.ReLU())
        self.blocks = nn.Sequential(Adds(torch.add), Adds(torch.add))
        for block in self.blocks:
            block.one, block.pool, block.fc = nn.Conv2d(4, 4, 1), nn.Identity(), nn.Identity()
        self.named = nn.ModuleDict({"a": nn.ReLU(), "b": nn.Flatten()})
        self.listed = nn.ModuleList([nn.AdaptiveAvgPool2d(1), nn.Linear(4, 2), nn.Linear(9, 9)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block.three(block.one(x)) + block.two(x)
        return self.listed[1](self.named["b"](self.listed[0](self.named["a"](x))))


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:The TorchScript type system")  # torch says so of its own GraphModule
def test_modules_lie_in_containers_as_before() -> None:
    network = Stages().eval()
    found = written(network)
    assert torch.equal(found(images()), network(images()))
    assert torch.equal(found.stem(images()), network.stem(images()))
    assert [type(module).__name__ for module in found.stem] == ["Sequential", "ReLU"]
    assert found.blocks[1].two is found.get_submodule("blocks.1.two")
    assert (isinstance(found.blocks, nn.Sequential), len(found.blocks)) == (True, 2)
    assert list(found.named) == ["a", "b"]
    assert (type(found.listed), len(found.listed)) == (nn.ModuleList, 3)  # its last module is not in the file
    assert torch.equal(torch.jit.script(found)(images()), network(images()))
    for lost in (found.blocks, found.blocks[0], found.listed[2]):  # their forward pass is in the graph alone
        with pytest.raises(NotImplementedError):
            lost(images())


@torch.no_grad()
def test_a_sequential_keeps_its_places() -> None:
    network = network_of(nn.ReLU()).eval()
    found = written(network)
    assert len(found) == len(network)
    assert torch.equal(found[0](images()), network[0](images()))


class Residual(nn.Sequential):
    """A chain that adds its input."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


@torch.no_grad()
def test_a_chain_with_a_forward_pass_of_its_own_does_not_become_another_chain() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), Residual(nn.Conv2d(4, 4, 1), nn.ReLU())).eval()
    found = written(network)
    assert torch.equal(found(images()), network(images()))
    with pytest.raises(NotImplementedError):
        found[1](images())


class Plain(nn.Conv2d):
    """Computes as its base."""


@torch.no_grad()
def test_a_subclass_that_computes_as_its_base_comes_back_as_the_base() -> None:
    network = network_of(Plain(4, 4, 3)).eval()
    found = written(network)
    assert type(found.get_submodule("1")) is nn.Conv2d
    assert torch.equal(found(images()), network(images()))


def test_a_difference_is_named() -> None:
    one = described(network_of(nn.ReLU()).eval())
    assert difference(one, copy.deepcopy(one)) == ""
    assert "1 (ReLU6" in difference(described(network_of(nn.ReLU6()).eval()), one)
    assert "operation" in difference(described(Adds(torch.add).eval()), described(Adds(lambda x, y: x.add_(y)).eval()))
