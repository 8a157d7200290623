"""The forward pass of a network as an fx graph in one form, and its checks."""

import operator
from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor, fx, nn

from ehap.errors import ArchitectureError
from ehap.graph.tracing import OVERWRITING, Tracer, traced
from ehap.graph.union import UnionAdd

METHODS: Mapping[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "add_": operator.iadd,
    "flatten": torch.flatten,
    "mean": torch.mean,
    "relu": torch.relu,
    "relu_": torch.relu_,
    "tanh": torch.tanh,
}
"""Methods of a tensor, and the functions that do the same."""
ALIASING_MODULES = (nn.Identity, nn.Dropout, nn.Dropout2d, nn.Flatten)
"""Operations that may return their input itself, or a view of it, as nn.Dropout does in eval mode."""


class _Tracer(Tracer):
    """Sees the union of a network that is pruned already as one operation."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, UnionAdd) or super().is_leaf_module(m, module_qualified_name)


def trace_forward(model: nn.Module) -> fx.GraphModule:
    """Return the model's forward pass as an fx graph over the model's own modules.

    Equal operations get one form: methods become functions, ``x.view(x.size(0), -1)`` becomes ``torch.flatten(x, 1)``.
    ``x.contiguous()`` has the values of x and becomes x.

    Raises:
        ArchitectureError: The forward pass cannot be read off, as where it depends on values.
    """
    graph_module = traced(model, _Tracer())
    _write_methods_as_functions_(graph_module.graph)
    graph_module.recompile()
    return graph_module


def _write_methods_as_functions_(graph: fx.Graph) -> None:
    """Write methods as functions and views as flattening, in place; remove the shape queries of these views."""
    for node in list(graph.nodes):
        if node.op == "call_method" and node.target == "contiguous":
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
        elif (node.op == "call_method" and node.target in METHODS) or _flattens_images(node):
            target = METHODS.get(str(node.target), torch.flatten)
            with graph.inserting_before(node):
                arguments = node.args if node.target in METHODS else (node.args[0], 1)
                node.replace_all_uses_with(graph.call_function(target, arguments, node.kwargs))
            graph.erase_node(node)
    for node in reversed(list(graph.nodes)):  # nodes that asked for the number of images
        if not node.users and asks_for_shape(node):
            graph.erase_node(node)


def _flattens_images(node: fx.Node) -> bool:
    """Return whether an operation is ``view`` or ``reshape`` to one vector for each image."""
    if node.target not in ("view", "reshape", torch.reshape) or len(node.args) < 2 or node.kwargs:  # noqa: PLR2004
        return False
    sizes = node.args[1:] if len(node.args) > 2 else node.args[-1]  # noqa: PLR2004 (several numbers, or one tuple)
    if not isinstance(sizes, (list, tuple)):
        return False
    return len(sizes) == 2 and _is_image_count(sizes[0]) and bool(sizes[1] == -1)  # noqa: PLR2004


def asks_for_shape(node: fx.Node) -> bool:
    """Return whether an operation is ``x.size()``, ``x.shape`` or a number out of it."""
    number = node.target is operator.getitem and isinstance(node.args[0], fx.Node) and asks_for_shape(node.args[0])
    return number or node.target == "size" or _is_shape(node)


def _is_image_count(item: object) -> bool:
    """Return whether something is ``x.size(0)``, ``x.size()[0]`` or ``x.shape[0]``."""
    if not isinstance(item, fx.Node):
        return False
    if item.target == "size":
        return bool(item.args[1:] == (0,)) and not item.kwargs
    return item.target is operator.getitem and bool(item.args[1] == 0) and _is_shape(item.args[0])


def _is_shape(item: object) -> bool:
    """Return whether something is ``x.size()`` or ``x.shape``."""
    if not isinstance(item, fx.Node):
        return False
    if item.target == "size":
        return len(item.args) == 1 and not item.kwargs
    return item.target is getattr and bool(item.args[1] == "shape")


def check_same_in_both_modes(model: nn.Module, graph_module: fx.GraphModule) -> None:
    """Raise if a forward pass depends on the mode: the pruned one would keep the present mode for ever."""
    modules = list(model.modules())
    for module in modules:
        module.training = not module.training
    try:
        other = trace_forward(model)
    finally:
        for module in modules:
            module.training = not module.training
    if str(other.graph) != str(graph_module.graph):
        raise ArchitectureError(
            f"the forward pass of {type(model).__name__} is another one in train mode than in eval mode; pruning needs "
            "one without branches on self.training, but for those of modules like nn.Dropout."
        )


def check_no_hooks(model: nn.Module, called: Collection[str]) -> None:
    """Raise if the network, or a module that is one operation of its, has hooks: they may do anything to a result.

    Args:
        model: The network.
        called: Paths of the modules that are operations.
    """
    for name in ("", *called):
        module = model.get_submodule(name)
        if module._forward_hooks or module._forward_pre_hooks:
            raise ArchitectureError(
                f"{name or type(model).__name__}: expected no forward hooks, which a pruned network would not have or "
                "which could turn removed channels into others; remove them first."
            )


def overwrites(node: fx.Node, module: nn.Module | None) -> bool:
    """Return whether an operation writes its result over the first tensor that it reads."""
    if module is not None:
        return bool(getattr(module, "inplace", False))
    inplace = node.kwargs.get("inplace", False)  # fx names it, however it was given
    return node.target in (*OVERWRITING.values(), torch.relu_) or bool(inplace)


def check_nothing_is_read_after_it_was_overwritten(graph_module: fx.GraphModule) -> None:
    """Raise if an operation reads a tensor that another one, under this name or another, has written over."""
    held: dict[fx.Node, tuple[fx.Node, int]] = {}  # by what a result's memory was made, and how often written since
    writers: dict[fx.Node, list[fx.Node]] = {}
    for node in graph_module.graph.nodes:
        for source in node.all_input_nodes:
            memory, version = held[source]
            if version != len(writers[memory]):
                writer = writers[memory][version]
                raise ArchitectureError(
                    f"{node.name}: reads {source.name} after {writer.name} has overwritten it; let {writer.name} give "
                    "a new tensor (inplace=False, or x = x + y for x += y)."
                )
        module = graph_module.get_submodule(str(node.target)) if node.op == "call_module" else None
        first = node.all_input_nodes[0] if node.all_input_nodes else None
        if first is not None and overwrites(node, module):
            writers[held[first][0]].append(node)
            held[node] = held[first][0], held[first][1] + 1
        elif first is not None and (isinstance(module, ALIASING_MODULES) or node.target is torch.flatten):
            held[node] = held[first]
        else:
            held[node], writers[node] = (node, 0), []
