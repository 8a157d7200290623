"""The forward pass of a network as an fx graph, and what it overwrites on the way."""

import operator
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, fx, nn

from ehap.errors import ArchitectureError
from ehap.models.tracing import Tracer, traced
from ehap.pruning.union import UnionAdd

METHODS: Mapping[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "flatten": torch.flatten,
    "mean": torch.mean,
    "relu": torch.relu,
}
"""Methods of a tensor, and the functions that do the same."""
ALIASING_MODULES = (nn.Identity, nn.Dropout, nn.Dropout2d, nn.Flatten)
"""What may give the tensor that it reads itself, or a view of it: nn.Dropout does in eval mode."""


class _Tracer(Tracer):
    """Sees the union of a network that is pruned already as one operation."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, UnionAdd) or super().is_leaf_module(m, module_qualified_name)


def trace_forward(model: nn.Module) -> fx.GraphModule:
    """Return the model's forward pass as an fx graph over the model's own modules.

    What may be written in several ways is written in one: methods as functions, ``x.view(x.size(0), -1)`` as
    ``torch.flatten(x, 1)``.

    Raises:
        ArchitectureError: The forward pass depends on values, so that it cannot be traced.
    """
    try:
        graph_module = traced(model, _Tracer())
    except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
        raise ArchitectureError(
            f"the forward pass of {type(model).__name__} cannot be traced ({error}); "
            "pruning needs one without branches on values."
        ) from error
    _write_methods_as_functions_(graph_module.graph)
    graph_module.recompile()
    return graph_module


def _write_methods_as_functions_(graph: fx.Graph) -> None:
    for node in list(graph.nodes):
        if node.op == "call_method" and (node.target in METHODS or _flattens_images(node)):
            target = METHODS.get(str(node.target), torch.flatten)
            with graph.inserting_before(node):
                arguments = node.args if node.target in METHODS else (node.args[0], 1)
                node.replace_all_uses_with(graph.call_function(target, arguments, node.kwargs))
            graph.erase_node(node)
    for node in reversed(list(graph.nodes)):  # what asked for the number of images
        if not node.users and (_is_shape(node) or node.target is operator.getitem or node.target == "size"):
            graph.erase_node(node)


def _flattens_images(node: fx.Node) -> bool:
    """Return whether a method is ``view`` or ``reshape`` to one vector for each image."""
    sizes = node.args[1:] if len(node.args) > 2 else node.args[-1]  # noqa: PLR2004 (several numbers, or one tuple)
    if node.target not in ("view", "reshape") or not isinstance(sizes, (list, tuple)) or node.kwargs:
        return False
    return len(sizes) == 2 and _is_image_count(sizes[0]) and bool(sizes[1] == -1)  # noqa: PLR2004


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


def overwrites(node: fx.Node, module: nn.Module | None) -> bool:
    """Return whether an operation writes its result over the first tensor that it reads."""
    if module is not None:
        return bool(getattr(module, "inplace", False))
    return node.target is operator.iadd or bool(node.kwargs.get("inplace", False))  # fx names it, however it was given


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
