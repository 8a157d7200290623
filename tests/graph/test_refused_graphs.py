"""Networks that a file cannot name, and data that describe no network."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from ehap.errors import ArchitectureError, CheckpointError
from ehap.graph import catalog
from ehap.graph.serialization import blank, check_shape, described
from tests.graph.networks import Adds, Branching, Flagged, Moody, hooked, network_of


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
    "three steps": (_set("modules", 0, "arguments", "stride", {"tuple": [1, 1, 1]}), "expected stride as two numbers"),
    "no step": (_set("modules", 0, "arguments", "dilation", {"tuple": [1, 0]}), "expected dilation as two numbers"),
    "padding inwards": (_set("modules", 0, "arguments", "padding", {"tuple": [-1, 0]}), "expected padding as two"),
    "negative": (_set("modules", 0, "arguments", "out_channels", -4), "describes no network"),
    "other widths": (_set("modules", 0, "arguments", "out_channels", 5), "5"),
    "container of nothing": (_set("containers", "9", ["sequential", []]), "9"),
    "a layer as a container": (_set("containers", "0", ["list", []]), "0 holds no modules"),
    "container of another kind": (_set("containers", "", ["Softmax", []]), "no container of known kind: 'Softmax'"),
    "children of another kind": (_set("containers", "", ["list", "01"]), "no container of known kind: 'list', '01'"),
    "a number as a child": (_set("containers", "", ["list", [1]]), "no container of known kind"),
    "a path as a child": (_set("containers", "", ["module", ["0.a"]]), "no container of known kind"),
    "no container": (_set("containers", "", None), "describes no network"),
    "keys": (lambda data: data.pop("nodes"), "expected containers, modules, nodes"),
    "no list": (_set("nodes", 7), "describes no network"),
    "nothing": (lambda data: data.clear(), "expected containers, modules, nodes"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_graphs_are_refused(name: str) -> None:
    change, words = DAMAGED[name]
    data = json.loads(json.dumps(described(network_of(nn.ReLU()).eval())))
    change(data)
    with pytest.raises(CheckpointError, match=words) as raised:
        blank(data)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("data", [None, 1, "text", [], {}, {"containers": 1, "modules": 2, "nodes": 3}])
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
