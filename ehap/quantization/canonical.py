"""Rewrite an exported network so that each purpose has one operation, the one that quantization and engines know."""

from typing import Any

import torch
from torch import Tensor, fx

aten = torch.ops.aten
DROPOUTS = (aten.dropout.default, aten.dropout_.default, aten.feature_dropout.default, aten.feature_dropout_.default)
MAP = (2, 3)
"""Dimensions of the positions in a feature map."""
AVERAGE_OPTIONS: tuple[Any, ...] = (None, None, [], [0, 0], False, True, None)
"""Defaults of input, window, stride, padding, ceil_mode, count_include_pad, divisor_override; export omits them."""
LARGEST_OPTIONS: tuple[Any, ...] = (None, None, [], [0, 0], [1, 1], False)
"""Defaults of input, window, stride, padding, dilation, ceil_mode."""
POOLS = (aten.avg_pool2d.default, aten.max_pool2d.default)


def canonical_(graph: fx.GraphModule) -> None:
    """Rewrite an exported network in place, with the same results.

    - Means over positions, adaptive or not, become average pooling of a fixed size: engines have a kernel for it.
    - Padding gets its size instead of a name.
    - Dropout is removed: in eval mode it does nothing.
    - Pooling keeps ceil_mode only where a window hangs over the edge. Then it keeps count_include_pad only where there
      is padding: ONNX Runtime's integer kernel would count positions beyond the edge, too.

    Other operations stay, such as pooling with windows of unequal size. The quantizer refuses those it does not cover.

    Args:
        graph: Result of torch.export, for images of one size.
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
    if node.target in (aten.relu6.default, aten.relu6_.default):
        return graph.call_function(aten.hardtanh.default, (node.args[0], 0, 6))
    return _pooled_or_moved(graph, node)


def _pooled_or_moved(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    if node.target == aten.adaptive_avg_pool2d.default:
        return _pooled(graph, node, tuple(node.args[1]))  # type: ignore[arg-type]  # two integers
    if node.target == aten.mean.dim:
        dimensions = tuple(sorted(each % 4 for each in node.args[1]))  # type: ignore[union-attr, operator]  # integers
        pooled = _pooled(graph, node, (1, 1)) if dimensions == MAP else None
        keeps = len(node.args) > 2 and node.args[2]  # noqa: PLR2004
        return pooled if keeps or pooled is None else graph.call_function(aten.flatten.using_ints, (pooled, 1))
    if node.target == aten.conv2d.padding:
        return _padded(graph, node)
    if node.target in POOLS:
        return _with_fewer_options(graph, node)
    if node.target in DROPOUTS and not node.args[2]:
        return node.all_input_nodes[0]
    return None


def _pooled(graph: fx.Graph, node: fx.Node, size: tuple[int, ...]) -> fx.Node | None:
    present = tuple(_value(node.args[0]).shape[2:])
    if any(have % want for have, want in zip(present, size, strict=True)):
        return None
    window = [have // want for have, want in zip(present, size, strict=True)]
    pooled = graph.call_function(aten.avg_pool2d.default, (node.args[0], window, window))
    pooled.meta["val"] = aten.avg_pool2d.default(_value(node.args[0]), window, window)
    return pooled


def _hangs_over(node: fx.Node) -> bool:
    """Return whether a window of pooling reaches beyond the padding: only then ``ceil_mode`` has an effect."""
    (_, window, stride, padding, *_), spread = options(node), [1, 1]
    if node.target == aten.max_pool2d.default:
        spread = options(node)[4]
    before, after = (list(_value(each).shape[2:]) for each in (node.all_input_nodes[0], node))
    sizes = [_both(each) for each in (window, stride or window, padding, spread)]
    fitting = [
        (size + 2 * border - reach * (width - 1) - 1) // step + 1
        for size, width, step, border, reach in zip(before, *sizes, strict=True)
    ]
    return fitting != after


def options(node: fx.Node) -> tuple[Any, ...]:
    """Return all arguments of a call of avg_pool2d or max_pool2d, with the defaults of omitted ones."""
    usual = AVERAGE_OPTIONS if node.target == aten.avg_pool2d.default else LARGEST_OPTIONS
    names = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]  # an operator
    given = dict(zip(names, usual, strict=True)) | dict(zip(names, node.args, strict=False)) | node.kwargs
    return tuple(given.values())


def _with_fewer_options(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    source, window, stride, padding, *others = given = options(node)
    if node.target == aten.avg_pool2d.default:
        ceil, counted, divisor = others
        ceil = ceil and _hangs_over(node)
        others = [ceil, counted and (any(_both(padding)) or not ceil), divisor]
    else:
        others = [others[0], others[1] and _hangs_over(node)]
    if list(given[4:]) == others:
        return None
    return graph.call_function(node.target, (source, window, stride, padding, *others))  # type: ignore[arg-type]


def _both(value: Any) -> list[int]:
    """Return the values for rows and columns; the argument may be one number for both."""
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return values * 2 if len(values) == 1 else values


def _padded(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    usual: tuple[Any, ...] = (None, [1, 1], "valid", [1, 1], 1)
    given: tuple[Any, ...] = node.args
    source, weight, bias, stride, name, dilation, groups = (*given, *usual[len(given) - 2 :])  # export omits some
    kernel = _value(weight).shape[2:]
    whole = [0, 0] if name == "valid" else [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
    if any(each % 2 for each in whole):
        return None
    padding = [each // 2 for each in whole]
    return graph.call_function(aten.conv2d.default, (source, weight, bias, stride, padding, dilation, groups))


def _value(node: object) -> Tensor:
    """Return the meta tensor of a node: shape and type of its value."""
    assert isinstance(node, fx.Node)
    value: Tensor = node.meta["val"]
    return value
