"""A network's forward pass as plain data for JSON, and back; nothing in the data is imported or executed as code."""

import keyword
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from ehap.errors import ArchitectureError, CheckpointError, EhapError
from ehap.graph.catalog import FUNCTIONS, as_data, from_data, module_as_data, module_of, name_of_function
from ehap.graph.channels import channel_graph
from ehap.graph.containers import CLASSES, Containers
from ehap.graph.forward import trace_forward
from ehap.graph.network import PrunedNetwork, containers_of
from ehap.graph.tracing import copied
from ehap.graph.union import UnionAdd

Description = dict[str, Any]
"""``containers``, path to kind and names of children; ``modules``, each with path, class and arguments; ``nodes`` of
the graph in order, each with op, target, args and kwargs. Arguments that are results are ``{"node": number}``."""

PATH = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
OPS = ("placeholder", "call_module", "call_function", "output")
IMAGES = 2


def described(network: nn.Module) -> Description:
    """Return a network's forward pass, without the values of its parameters.

    Args:
        network: Dense or pruned, in floating point.

    Raises:
        ArchitectureError: It has an operation that pruning does not know, or that a file cannot name.
    """
    channel_graph(network)
    graph_module = trace_forward(network)
    numbers = {node: number for number, node in enumerate(graph_module.graph.nodes)}
    paths = list(dict.fromkeys(str(node.target) for node in numbers if node.op == "call_module"))
    odd = next((path for path in paths if not PATH.fullmatch(path)), None)
    if odd is not None:
        raise ArchitectureError(f"{odd!r}: cannot be saved under this name; expected letters, digits, _, - and points.")
    return {
        "containers": _containers(network, paths),
        "modules": [module_as_data(graph_module.get_submodule(path), path) for path in paths],
        "nodes": [_node_as_data(node, numbers) for node in numbers],
    }


def weights_of(network: nn.Module, description: Description) -> dict[str, Tensor]:
    """Return the parameters and statistics of the modules in a description, by path."""
    modules = ((module["path"], network.get_submodule(module["path"])) for module in description["modules"])
    return {f"{path}.{name}": each for path, module in modules for name, each in module.state_dict().items()}


def blank(description: object) -> PrunedNetwork:
    """Return the network of a description, in eval mode, with parameters on the meta device.

    Args:
        description: From ``described``, by way of JSON; or anything else.

    Raises:
        CheckpointError: It is no description of a network.
    """
    try:
        network = _built(_mapping(description, "containers", "modules", "nodes"))
        channel_graph(network)
    except CheckpointError:
        raise
    except Exception as error:  # whatever constructors and torch.fx raise for arguments that make no sense
        text = " ".join(str(error).split())[:200]
        kind = "" if isinstance(error, (EhapError, ValueError)) else f"{type(error).__name__}: "
        raise CheckpointError(f"its graph describes no network ({kind}{text})") from None
    return network


@torch.no_grad()
def check_shape(network: fx.GraphModule, shape: object) -> tuple[int, int, int]:
    """Return the shape of an image if a blank network takes such images.

    Args:
        network: Result of ``blank``.
        shape: (C, H, W).

    Raises:
        CheckpointError: It is no shape, or the network cannot take it.
    """
    if not isinstance(shape, Sequence) or len(shape) != 3 or not all(type(each) is int for each in shape):  # noqa: PLR2004
        raise CheckpointError(f"expected the shape (C, H, W) of an image, got {shape!r:.80}")
    try:
        quiet = copied(network).to("meta")
        for module in quiet.modules():
            if isinstance(module, UnionAdd):
                module.register_forward_pre_hook(_same_maps)
        given = quiet(torch.empty(IMAGES, *shape, device="meta"))
        rows = given.shape[0]
    except Exception as error:  # whatever operations raise
        text = " ".join(str(error).split())[:200]
        raise CheckpointError(f"its graph takes no images {tuple(shape)} ({type(error).__name__}: {text})") from None
    if rows != IMAGES:
        raise CheckpointError(f"its graph gives {tuple(given.shape)} for {IMAGES} images, not a row for each")
    return shape[0], shape[1], shape[2]


def _same_maps(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Raise ValueError unless a union's inputs are maps of one size, which no operation on the meta device asks."""
    left, right = inputs
    if left.shape[2:] != right.shape[2:]:
        raise ValueError(f"a union of {tuple(left.shape)} and {tuple(right.shape)}")


def fill_(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a network, on the CPU or blank, the tensors of a file, in their own type.

    Raises:
        CheckpointError: A tensor is missing, unknown, or of another shape or type.
    """
    wanted = network.state_dict()
    missing, extra = (sorted(set(one) - set(other)) for one, other in ((wanted, tensors), (tensors, wanted)))
    if missing or extra:
        named = f"{missing[0]} is missing" if missing else f"{extra[0]} belongs to no module"
        raise CheckpointError(f"its tensors do not fit its graph: {named}")
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            found = f"{tuple(tensor.shape)}, not {tuple(wanted[name].shape)}"
            raise CheckpointError(f"its tensors do not fit its graph: {name} has the shape {found}")
        floating = wanted[name].is_floating_point()
        if tensor.is_floating_point() != floating or (not floating and tensor.dtype != wanted[name].dtype):
            raise CheckpointError(f"its tensors do not fit its graph: {name} is of {tensor.dtype}")
    types = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    if len(types) > 1 or not types <= {torch.float32, torch.float64}:
        named = " and ".join(sorted(map(str, types)))
        raise CheckpointError(f"its tensors do not fit together: expected one of float32 and float64, got {named}")
    network.load_state_dict({name: tensor.clone() for name, tensor in tensors.items()}, assign=True)


def difference(found: Description, wanted: Description) -> str:
    """Return where two networks differ, as a few words; empty where they are the same."""
    pairs = zip(found["modules"], wanted["modules"], strict=False)
    for one, other in pairs:
        if one != other:
            return f"{one['path']} ({one['class']} {one['arguments']}) beside {other['path']} ({other['arguments']})"
    for ours, theirs in zip(found["nodes"], wanted["nodes"], strict=False):
        if ours != theirs:
            return f"the operation {ours['target']} beside {theirs['target']}"
    counts = [len(each["nodes"]) for each in (found, wanted)]
    return "" if counts[0] == counts[1] else f"{counts[0]} operations beside {counts[1]}"


def _node_as_data(node: fx.Node, numbers: Mapping[fx.Node, int]) -> dict[str, Any]:
    def plain(value: object) -> Any:
        return {"node": numbers[value]} if isinstance(value, fx.Node) else as_data(value, node.name)

    target = name_of_function(node.target, node.name) if node.op == "call_function" else str(node.target)
    if node.op == "placeholder" and not _identifier(target):
        raise ArchitectureError(f"{target}: expected a network of one input that has a name; wrap it in a module.")
    if node.op == "output" and not isinstance(node.args[0], fx.Node):
        raise ArchitectureError(
            "expected a network that gives one tensor, got a tuple, list or mapping; wrap it in one that gives one."
        )
    return {
        "op": node.op,
        "target": target,
        "args": [] if node.op == "placeholder" else [plain(each) for each in node.args],
        "kwargs": {key: plain(value) for key, value in node.kwargs.items()},
    }


def _built(description: Mapping[str, Any]) -> PrunedNetwork:
    root = _tree(description["modules"])
    graph = fx.Graph()
    made: list[fx.Node] = []
    for item in description["nodes"]:
        made.append(_node(graph, _mapping(item, "op", "target", "args", "kwargs"), made))
    ops = [node.op for node in made]
    if ops.count("placeholder") != 1 or ops.count("output") != 1 or (ops[0], ops[-1]) != ("placeholder", "output"):
        raise ValueError("expected one input first and one output last")
    called = {node.target for node in made if node.op == "call_module"}
    idle = next((module["path"] for module in description["modules"] if module["path"] not in called), None)
    if idle is not None:
        raise ValueError(f"{idle} is never called")
    graph.lint()
    return PrunedNetwork.of(fx.GraphModule(root, graph, "Network").eval(), _held(root, description["containers"]))


def _containers(network: nn.Module, paths: Sequence[str]) -> dict[str, Any]:
    """Return path to kind and children of the modules that hold modules of these paths, the network under ""."""
    holding = {"", *(path[: each.start()] for path in paths for each in re.finditer(r"\.", path))}
    found = containers_of(network)
    return {path: [kind, list(children)] for path, (kind, children) in found.items() if path in holding}


def _held(root: nn.Module, containers: Mapping[str, Any]) -> Containers:
    """Return the containers of a description as ``restore_containers_`` takes them.

    Raises:
        ValueError: One of them holds no modules of the description, or is of an unknown kind.
    """
    for path, (kind, children) in containers.items():
        if type(root.get_submodule(path)) is not nn.Module:
            raise ValueError(f"{path} holds no modules")
        plain = isinstance(children, list) and all(isinstance(name, str) and name for name in children)
        if kind not in (*CLASSES, "module") or not plain or any("." in name for name in children):
            raise ValueError(f"{path or 'the network'} is no container of known kind: {kind!r:.40}, {children!r:.80}")
    return {path: (kind, children) for path, (kind, children) in containers.items()}


def _tree(modules: Sequence[object]) -> nn.Module:
    """Return a module that holds the modules of a description at their paths, in their order."""
    root = nn.Module()
    for item in modules:
        found = _mapping(item, "path", "class", "arguments")
        path, arguments = found["path"], found["arguments"]
        if not isinstance(path, str) or not PATH.fullmatch(path):
            raise ValueError(f"{path!r:.80} is no path of a module")
        module = module_of(found["class"], {key: from_data(value) for key, value in arguments.items()})
        parent = root
        *containers, last = path.split(".")
        for container in containers:
            if container not in parent._modules:
                parent.add_module(container, nn.Module())
            parent = parent.get_submodule(container)
            if type(parent) is not nn.Module:
                raise ValueError(f"{path} lies in a module that holds no others")
        if last in parent._modules:
            raise ValueError(f"{path} is there twice")
        parent.add_module(last, module)
    return root


def _node(graph: fx.Graph, item: Mapping[str, Any], made: Sequence[fx.Node]) -> fx.Node:
    """Add one operation to a graph; it reads earlier ones only."""
    op, target = item["op"], item["target"]
    if op not in OPS or not isinstance(target, str):
        raise ValueError(f"expected an operation, got {target!r:.40} ({op!r:.40})")
    name = f"operation {len(made)}"
    if not all(_identifier(key) for key in item["kwargs"]) or (op == "placeholder" and not _identifier(target)):
        raise ValueError(f"{name}: expected names of arguments")

    def value(data: object) -> Any:
        if not isinstance(data, dict) or set(data) != {"node"}:
            return from_data(data)
        number = data["node"]
        if type(number) is not int or not 0 <= number < len(made):
            raise ValueError(f"{name} reads operation {number!r:.20}, which is not before it")
        return made[number]

    if op == "placeholder" and (item["args"] or item["kwargs"]):
        raise ValueError(f"{name}: expected an input without arguments")
    args, kwargs = [value(each) for each in item["args"]], {key: value(each) for key, each in item["kwargs"].items()}
    inputs = sum(isinstance(each, fx.Node) for each in args)
    if op == "output" and (inputs != len(args) or inputs != 1 or kwargs):
        raise ValueError(f"{name}: expected one result as the output")
    if op == "call_function" and target not in FUNCTIONS:
        raise ValueError(f"{name}: {target!r:.80} is no known operation")
    return graph.create_node(op, FUNCTIONS[target] if op == "call_function" else target, tuple(args), kwargs)


def _identifier(name: object) -> bool:
    return isinstance(name, str) and name.isascii() and name.isidentifier() and not keyword.iskeyword(name)


def _mapping(item: object, *keys: str) -> Mapping[str, Any]:
    """Return a part of a description that has these keys."""
    if not isinstance(item, dict) or set(item) != set(keys):
        raise ValueError(f"expected {', '.join(keys)}, got {item!r:.80}")
    return item
