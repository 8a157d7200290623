"""Forward passes as JSON and back: every module and function, every argument, and what is refused."""

import copy
import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from ehap.errors import ArchitectureError, CheckpointError
from ehap.graph import catalog, operations
from ehap.graph.serialization import blank, check_shape, described, difference, fill_, weights_of
from ehap.graph.union import UnionAdd
from tests.graph.networks import Adds, Branching, Flagged, Moody, Overwriting, Written, hooked, network_of

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


class Plain(nn.Conv2d):
    """Computes as its base."""


@torch.no_grad()
def test_a_subclass_that_computes_as_its_base_comes_back_as_the_base() -> None:
    network = network_of(Plain(4, 4, 3)).eval()
    found = written(network)
    assert type(found.get_submodule("1")) is nn.Conv2d
    assert torch.equal(found(images()), network(images()))


class Own(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def odd(change: Callable[[nn.Conv2d], Any]) -> nn.Module:
    network = network_of(nn.Conv2d(4, 4, 3))
    change(network[1])
    return network


def named(path: str) -> nn.Module:
    network = nn.Sequential()
    network.add_module("one", nn.Conv2d(3, 4, 3))
    network.add_module(path, nn.ReLU())
    return network


class _Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.conv(x)
        return x, F.relu(x)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "own forward": (lambda: network_of(Own(4, 4, 3)), "1"),
    "other module": (lambda: network_of(nn.Softmax(1)), "1: Softmax"),
    "branch": (lambda: network_of(Branching()), "cannot be traced"),
    "hook": (lambda: hooked("2"), "2: expected no forward hooks"),
    "modes": (Moody, "train mode"),
    "two inputs": (Flagged, "flag"),
    "shared": (lambda: Adds(torch.add, shared=True), "three"),
    "two outputs": (_Pair, "tuple, list or mapping"),
    "scaled sum": (lambda: Adds(lambda x, y: torch.add(x, y, alpha=2)), "add"),
    "weight norm": (lambda: network_of(nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3))), "1"),
    "no shift": (lambda: network_of(nn.BatchNorm2d(4, bias=False)), "1: expected parameters and statistics"),
    "other sizes": (lambda: odd(lambda conv: setattr(conv, "kernel_size", (5, 5))), "1: expected parameters"),
    "other padding": (
        lambda: odd(lambda conv: setattr(conv, "_reversed_padding_repeated_twice", [1, 1, 1, 1])),
        "1: _reversed_padding",
    ),
    "infinite": (lambda: network_of(nn.LeakyReLU(float("inf"))), "1: the argument inf"),
    "a path with a space": (lambda: named("a space"), "letters, digits"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_file_cannot_name_is_refused_by_name(name: str) -> None:
    make, words = REFUSED[name]
    with pytest.raises(ArchitectureError, match=words.replace("(", r"\(")) as raised:
        described(make().eval())
    assert "\n" not in str(raised.value)


def _set(*keys: Any) -> Callable[[Any], None]:
    """Return a function that sets the last of these at the place that the others lead to."""

    def change(data: Any) -> None:
        *way, last, value = keys
        for key in way:
            data = data[key]
        data[last] = value

    return change


DAMAGED: dict[str, tuple[Callable[[Any], None], str]] = {
    "unknown function": (
        _set("nodes", 2, {"op": "call_function", "target": "os.system", "args": [], "kwargs": {}}),
        "os.system",
    ),
    "unknown module": (_set("modules", 0, "class", "Softmax"), "Softmax"),
    "later node": (_set("nodes", 2, "args", [{"node": 7}]), "not before it"),
    "itself": (_set("nodes", 2, "args", [{"node": 2}]), "not before it"),
    "negative node": (_set("nodes", 2, "args", [{"node": -1}]), "not before it"),
    "a truth for a node": (_set("nodes", 2, "args", [{"node": True}]), "not before it"),
    "other op": (_set("nodes", 1, "op", "call_method"), "expected an operation"),
    "attribute": (_set("nodes", 1, "op", "get_attr"), "expected an operation"),
    "code as an input": (_set("nodes", 0, "target", "x=exit()"), "names of arguments"),
    "code as a keyword": (_set("nodes", 1, "kwargs", {"x=exit()": 1}), "names of arguments"),
    "code as a path": (_set("modules", 0, "path", '0"), exit(), ("'), "no path"),
    "second input": (
        _set("nodes", 1, {"op": "placeholder", "target": "y", "args": [], "kwargs": {}}),
        "one input first",
    ),
    "no output": (lambda data: data["nodes"].pop(), "one output"),
    "a list as output": (lambda data: data["nodes"][-1].update(args=[[{"node": 1}]]), "expected an argument"),
    "two outputs": (lambda data: data["nodes"][-1].update(args=[{"node": 1}, {"node": 2}]), "one result"),
    "a default": (_set("nodes", 0, "args", [None]), "without arguments"),
    "idle module": (lambda data: data["modules"].append({**data["modules"][2], "path": "idle"}), "idle is never"),
    "absent module": (lambda data: data["modules"].pop(), "Network|describes no network"),
    "twice": (lambda data: data["modules"].append(data["modules"][0]), "twice"),
    "inside another": (_set("modules", 1, "path", "0.inner"), "holds no others"),
    "a name of torch": (_set("modules", 0, "path", "forward"), "forward"),
    "argument missing": (lambda data: data["modules"][0]["arguments"].pop("stride"), "expected the arguments"),
    "argument too many": (_set("modules", 0, "arguments", "dtype", 1), "expected the arguments"),
    "argument of another type": (_set("modules", 0, "arguments", "in_channels", "three"), "TypeError"),
    "argument as a mapping": (_set("modules", 0, "arguments", "stride", {"node": 0}), "expected an argument"),
    "infinite argument": (_set("modules", 0, "arguments", "stride", float("inf")), "expected an argument"),
    "negative": (_set("modules", 0, "arguments", "out_channels", -4), "describes no network"),
    "other widths": (_set("modules", 0, "arguments", "out_channels", 5), "5"),
    "keys": (lambda data: data.pop("nodes"), "expected modules, nodes"),
    "no list": (_set("nodes", 7), "describes no network"),
    "nothing": (lambda data: data.clear(), "expected modules, nodes"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_graphs_are_refused(name: str) -> None:
    change, words = DAMAGED[name]
    data = json.loads(json.dumps(described(network_of(nn.ReLU()).eval())))
    change(data)
    with pytest.raises(CheckpointError, match=words) as raised:
        blank(data)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("data", [None, 1, "text", [], {}, {"modules": 2, "nodes": 3}])
def test_other_data_is_no_graph(data: object) -> None:
    with pytest.raises(CheckpointError, match="describes no network"):
        blank(data)


@pytest.mark.parametrize("places", [[0, 3], [1, 0], [0, 0], [-1, 0], "01", [0.0, 1.0], [True, 0], []])
def test_unions_have_sorted_places_that_cover_them(places: object) -> None:
    arguments = {"left": [0, 1], "right": [1, 2], "width": 3}
    assert catalog.module_of("UnionAdd", arguments).get_buffer("right").tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"expected sorted positions|cover a union"):
        catalog.module_of("UnionAdd", {**arguments, "right": places})


@pytest.mark.parametrize("shape", [None, [3, 10], [3, 10, "10"], [4, 10, 10], [3, 2, 2], [3, -1, 10], [3, 10, True]])
def test_shapes_that_the_network_does_not_take_are_refused(shape: object) -> None:
    network = blank(described(network_of(nn.Conv2d(4, 4, 3)).eval()))
    assert check_shape(network, [3, 10, 10]) == (3, 10, 10)
    with pytest.raises(CheckpointError, match=r"shape|takes no images"):
        check_shape(network, shape)


def test_a_difference_is_named() -> None:
    one = described(network_of(nn.ReLU()).eval())
    assert difference(one, copy.deepcopy(one)) == ""
    assert "1 (ReLU6" in difference(described(network_of(nn.ReLU6()).eval()), one)
    assert "operation" in difference(described(Adds(torch.add).eval()), described(Adds(lambda x, y: x.add_(y)).eval()))
