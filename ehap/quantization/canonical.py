"""One operation for each purpose: what quantization and engines know under one name only."""

from typing import Any

import torch
from torch import Tensor, fx

from ehap.errors import ArchitectureError

aten = torch.ops.aten
MAP = (2, 3)
"""Dimensions of a feature map's positions."""


def canonical_(graph: fx.GraphModule) -> None:
    """Write an exported network anew, in place, with the same results.

    Means over positions, adaptive or not, become average pooling of a fixed size, for which engines have an integer
    kernel; padding gets its size instead of a name; dropout, which does nothing in eval mode, is left out.

    Args:
        graph: As torch.export gives it, for images of one size.

    Raises:
        ArchitectureError: Positions do not fall into equal windows, padding is not alike on both sides, dropout is in
            train mode, or a Hardtanh is no ReLU6.
    """
    for node in list(graph.graph.nodes):
        with graph.graph.inserting_before(node):
            other = _rewritten(graph.graph, node)
        if other is not None:
            other.meta.setdefault("val", node.meta["val"])
            node.replace_all_uses_with(other)
            graph.graph.erase_node(node)
    graph.recompile()


def _rewritten(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    if node.target == aten.adaptive_avg_pool2d.default:
        return _pooled(graph, node, tuple(node.args[1]))  # type: ignore[arg-type]  # two integers
    if node.target == aten.mean.dim:
        dimensions = tuple(sorted(each % 4 for each in node.args[1]))  # type: ignore[union-attr, operator]  # integers
        if dimensions != MAP:
            raise ArchitectureError(f"{node.name}: expected a mean over height and width, got one over {node.args[1]}.")
        pooled = _pooled(graph, node, (1, 1))
        keeps = len(node.args) > 2 and node.args[2]  # noqa: PLR2004
        return pooled if keeps else graph.call_function(aten.flatten.using_ints, (pooled, 1))
    if node.target == aten.conv2d.padding:
        return _padded(graph, node)
    if node.target == aten.dropout.default:
        if node.args[2]:
            raise ArchitectureError(f"{node.name}: expected dropout in eval mode; call eval() of the network.")
        return node.all_input_nodes[0]
    if node.target in (aten.hardtanh.default, aten.hardtanh_.default):
        lowest = node.args[1] if len(node.args) > 1 else -1
        if lowest != 0:
            raise ArchitectureError(
                f"{node.name}: expected ReLU6 or the like, which begins at 0, got one that begins at {lowest}."
            )
    return None


def _pooled(graph: fx.Graph, node: fx.Node, size: tuple[int, ...]) -> fx.Node:
    present = tuple(_value(node.args[0]).shape[2:])
    if any(have % want for have, want in zip(present, size, strict=True)):
        raise ArchitectureError(
            f"{node.name}: expected windows of equal size, got a map of {present} to be pooled to {size}."
        )
    window = [have // want for have, want in zip(present, size, strict=True)]
    pooled = graph.call_function(aten.avg_pool2d.default, (node.args[0], window, window))
    pooled.meta["val"] = aten.avg_pool2d.default(_value(node.args[0]), window, window)
    return pooled


def _padded(graph: fx.Graph, node: fx.Node) -> fx.Node:
    usual: tuple[Any, ...] = (None, [1, 1], "valid", [1, 1], 1)
    given: tuple[Any, ...] = node.args
    source, weight, bias, stride, name, dilation, groups = (*given, *usual[len(given) - 2 :])  # export leaves some out
    kernel = _value(weight).shape[2:]
    whole = [0, 0] if name == "valid" else [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
    if any(each % 2 for each in whole):
        raise ArchitectureError(f"{node.name}: expected as much padding on both sides, got {whole} in all.")
    padding = [each // 2 for each in whole]
    return graph.call_function(aten.conv2d.default, (source, weight, bias, stride, padding, dilation, groups))


def _value(node: object) -> Tensor:
    """Return the tensor without content that stands for a node's value: its shape and type."""
    assert isinstance(node, fx.Node)
    value: Tensor = node.meta["val"]
    return value
