"""The graph of a network as plain data: its operations, its modules and their arguments, without any code.

Names lead to classes and functions through closed tables only, so that a file can run nothing but these.
"""

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from ehap.errors import ArchitectureError, CheckpointError
from ehap.graph.forward import trace_forward
from ehap.graph.operations import ADDS, KEEPING_FUNCTIONS
from ehap.graph.tracing import PLAIN
from ehap.graph.union import UnionAdd

Plain = dict[str, Any]
"""What JSON can hold."""
OPERATIONS = ("placeholder", "call_module", "call_function", "output")
_POOL = ("kernel_size", "stride", "padding", "ceil_mode")
ARGUMENTS: Mapping[type[nn.Module], tuple[str, ...]] = {
    nn.Conv2d: (
        *("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias"),
        "padding_mode",
    ),
    nn.Linear: ("in_features", "out_features", "bias"),
    nn.BatchNorm2d: ("num_features", "eps", "momentum", "affine", "track_running_stats"),
    nn.ReLU: ("inplace",),
    nn.ReLU6: ("inplace",),
    nn.Hardtanh: ("min_val", "max_val", "inplace"),
    nn.LeakyReLU: ("negative_slope", "inplace"),
    nn.ELU: ("alpha", "inplace"),
    nn.GELU: ("approximate",),
    nn.SiLU: ("inplace",),
    nn.Hardswish: ("inplace",),
    nn.Tanh: (),
    nn.Identity: (),
    nn.Dropout: ("p", "inplace"),
    nn.Dropout2d: ("p", "inplace"),
    nn.MaxPool2d: (*_POOL, "dilation", "return_indices"),
    nn.AvgPool2d: (*_POOL, "count_include_pad", "divisor_override"),
    nn.AdaptiveAvgPool2d: ("output_size",),
    nn.Flatten: ("start_dim", "end_dim"),
    UnionAdd: ("left", "right", "width"),
}
"""The modules that a graph can have, with the arguments that make one."""
CLASSES: Mapping[str, type[nn.Module]] = {kind.__name__: kind for kind in ARGUMENTS}


def _named(functions: Iterable[Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    spaces = {"operator": operator, "torch": torch, "functional": functional}
    return {
        next(
            f"{name}.{each.__name__}" for name, space in spaces.items() if vars(space).get(each.__name__) is each
        ): each
        for each in functions
    }


FUNCTIONS: Mapping[str, Callable[..., Any]] = _named((*ADDS, *KEEPING_FUNCTIONS, torch.flatten, torch.mean))
"""The functions that a graph can call, by name."""
NAMES = {function: name for name, function in FUNCTIONS.items()}


def graph_as_data(model: nn.Module) -> tuple[Plain, dict[str, Tensor]]:
    """Return the forward pass of a network as plain data, and its parameters and buffers by path.

    Args:
        model: A network that pruning knows; see ``channel_graph``.

    Raises:
        ArchitectureError: The network has an operation that the format does not know; it is named.
    """
    traced = trace_forward(model)
    nodes = [_node_as_data(node) for node in traced.graph.nodes]
    used = {node["target"] for node in nodes if node["op"] == "call_module"}
    modules = {path: _module_as_data(path, traced.get_submodule(path)) for path in sorted(used)}
    return {"nodes": nodes, "modules": modules}, traced.state_dict()


def _module_as_data(path: str, module: nn.Module) -> Plain:
    kind = next((each for each in PLAIN if isinstance(module, each)), type(module))  # a subclass computes as its base
    if kind not in ARGUMENTS:
        raise ArchitectureError(f"{path}: {type(module).__name__} cannot be saved; save the state dict and your code.")
    return {"kind": kind.__name__, "arguments": {name: _argument(module, name) for name in ARGUMENTS[kind]}}


def _argument(module: nn.Module, name: str) -> Any:
    value = getattr(module, name)
    if name == "bias":
        return value is not None
    return value.tolist() if isinstance(value, Tensor) else value


def _node_as_data(node: fx.Node) -> Plain:
    target = NAMES.get(node.target) if node.op == "call_function" else str(node.target)  # type: ignore[arg-type]
    if node.op not in OPERATIONS or target is None:
        raise ArchitectureError(f"{node.name}: {node.target} cannot be saved; save the state dict and your code.")
    arguments = _value_as_data(list(node.args)), _value_as_data(dict(node.kwargs))
    return {"name": node.name, "op": node.op, "target": target, "args": arguments[0], "kwargs": arguments[1]}


def _value_as_data(value: Any) -> Any:
    """Return an argument as plain data: a node as {"node": name}, a tuple as {"tuple": [...]}."""
    if isinstance(value, fx.Node):
        return {"node": value.name}
    if isinstance(value, tuple):
        return {"tuple": [_value_as_data(each) for each in value]}
    if isinstance(value, list):
        return [_value_as_data(each) for each in value]
    if isinstance(value, dict):
        return {"dict": {str(key): _value_as_data(each) for key, each in value.items()}}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ArchitectureError(f"an argument of type {type(value).__name__} cannot be saved: {value!r:.60}.")


def graph_from_data(data: Plain, tensors: Mapping[str, Tensor] | None, most: int) -> fx.GraphModule:
    """Return the network of ``graph_as_data`` in eval mode.

    Args:
        data: The plain data.
        tensors: Its parameters and buffers; None leaves them without values that matter.
        most: Largest number of elements of all parameters, for data of unknown origin.

    Raises:
        CheckpointError: The data is no graph, or the tensors do not fit it.
    """
    try:
        root = nn.Module()
        for path, each in data["modules"].items():
            _put(root, path, _module_from_data(each))
        _give_values(root, tensors, most)
        graph = _graph_from_data(data["nodes"], data["modules"])
        graph.lint()
        found = fx.GraphModule(root, graph)
    except CheckpointError:
        raise
    except Exception as error:  # whatever classes of torch raise for arguments that are none of theirs
        raise CheckpointError(f"its graph is damaged ({type(error).__name__}: {str(error).strip()[:160]}).") from None
    return found.eval()


def _module_from_data(data: Plain) -> nn.Module:
    kind = CLASSES.get(data["kind"])
    if kind is None:
        raise CheckpointError(f"its graph has a module of an unknown kind, {data['kind']!r:.40}.")
    given = {name: tuple(each) if isinstance(each, list) else each for name, each in data["arguments"].items()}
    if set(given) != set(ARGUMENTS[kind]):
        raise CheckpointError(f"its graph has a {data['kind']} of other arguments: {sorted(given)}.")
    if kind is UnionAdd:
        left, right, width = (data["arguments"][name] for name in ARGUMENTS[UnionAdd])
        places = {*left, *right}
        if places != set(range(width)) or len(set(left)) != len(left) or len(set(right)) != len(right):
            raise CheckpointError("its graph has a union whose places are no channels of the sum.")
        return UnionAdd(list(left), list(right), width)
    with torch.device("meta"):  # numbers of a damaged file take no memory
        return kind(**given)


def _put(root: nn.Module, path: str, module: nn.Module) -> None:
    *parents, name = path.split(".")
    for each in parents:
        if each not in root._modules:
            root.add_module(each, nn.Module())
        root = root.get_submodule(each)
    root.add_module(name, module)


def _give_values(root: nn.Module, tensors: Mapping[str, Tensor] | None, most: int) -> None:
    expected = root.state_dict()
    if sum(each.numel() for each in expected.values()) > most:
        raise CheckpointError("its graph has more weights than the file can hold.")
    if tensors is None:
        root.apply(lambda module: module.to_empty(device="cpu", recurse=False) if _is_blank(module) else module)
        return
    if expected.keys() != tensors.keys():
        odd = sorted(expected.keys() ^ tensors.keys())
        raise CheckpointError(f"its graph and its tensors differ in {', '.join(odd[:4])}.")
    for name, blank in expected.items():
        tensor, floating = tensors[name], blank.is_floating_point()
        if tensor.shape != blank.shape or tensor.is_floating_point() != floating:
            raise CheckpointError(
                f"{name}: expected {tuple(blank.shape)}, {'floating point' if floating else 'whole numbers'}, got "
                f"{tuple(tensor.shape)} of {tensor.dtype}."
            )
    root.load_state_dict(dict(tensors), assign=True)
    for parameter in root.parameters():
        parameter.requires_grad_(True)


def _is_blank(module: nn.Module) -> bool:
    return any(each.is_meta for each in (*module.parameters(recurse=False), *module.buffers(recurse=False)))


def _graph_from_data(nodes: list[Plain], modules: Mapping[str, Any]) -> fx.Graph:
    graph, known = fx.Graph(), dict[str, fx.Node]()
    for data in nodes:
        op, target = data["op"], data["target"]
        if op not in OPERATIONS or (op == "call_module" and target not in modules):
            raise CheckpointError(f"its graph has an unknown operation, {op} {target!r:.40}.")
        if op == "call_function" and target not in FUNCTIONS:
            raise CheckpointError(f"its graph calls an unknown function, {target!r:.40}.")
        arguments = tuple(_value_from_data(each, known) for each in data["args"])
        named = {str(key): _value_from_data(each, known) for key, each in data["kwargs"]["dict"].items()}
        function = FUNCTIONS[target] if op == "call_function" else target
        known[data["name"]] = graph.create_node(op, function, arguments, named, name=data["name"])
    counts = [sum(data["op"] == op for data in nodes) for op in ("placeholder", "output")]
    if counts != [1, 1] or nodes[-1]["op"] != "output":
        raise CheckpointError(f"its graph has {counts[0]} inputs and {counts[1]} outputs, expected one of each.")
    return graph


def _value_from_data(value: Any, known: Mapping[str, fx.Node]) -> Any:
    if isinstance(value, list):
        return [_value_from_data(each, known) for each in value]
    if not isinstance(value, dict):
        return value
    (kind, inner), *others = value.items()
    if others or kind not in ("node", "tuple", "dict"):
        raise CheckpointError(f"its graph has an argument of an unknown form, {str(value)[:60]}.")
    if kind == "node":
        if inner not in known:
            raise CheckpointError(f"its graph reads {inner!r:.40} before it is computed.")
        return known[inner]
    if kind == "tuple":
        return tuple(_value_from_data(each, known) for each in inner)
    return {key: _value_from_data(each, known) for key, each in inner.items()}
