"""The forward pass of a network as an fx graph, and what it overwrites on the way."""

import operator

import torch
from torch import fx, nn

from ehap.errors import ArchitectureError
from ehap.models.tracing import Tracer, traced
from ehap.pruning.union import UnionAdd

FLATTENS = (torch.flatten,)
ALIASING_MODULES = (nn.Identity, nn.Dropout, nn.Flatten)
"""What may give the tensor that it reads itself, or a view of it: nn.Dropout does in eval mode."""


class _Tracer(Tracer):
    """Sees the union of a network that is pruned already as one operation."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, UnionAdd) or super().is_leaf_module(m, module_qualified_name)


def trace_forward(model: nn.Module) -> fx.GraphModule:
    """Return the model's forward pass as an fx graph over the model's own modules.

    Raises:
        ArchitectureError: The forward pass depends on values, so that it cannot be traced.
    """
    try:
        return traced(model, _Tracer())
    except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
        raise ArchitectureError(
            f"the forward pass of {type(model).__name__} cannot be traced ({error}); "
            "pruning needs one without branches on values."
        ) from error


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
        elif first is not None and (isinstance(module, ALIASING_MODULES) or node.target in FLATTENS):
            held[node] = held[first]
        else:
            held[node], writers[node] = (node, 0), []
