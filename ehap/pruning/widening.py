"""The wider network with plain sums, and where the weights of the narrow one lie in it."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from ehap.graph.channels import LAYERS, ChannelGraph, Step, channel_graph
from ehap.graph.forward import trace_forward
from ehap.graph.tracing import copied
from ehap.pruning.padding import Layout, layout
from ehap.pruning.surgery import same_modes_

FILLS = {"running_var": 1.0}
"""Values of the padded channels of a BatchNorm, where they are not 0."""


@dataclass(frozen=True)
class Placement:
    """Where the weights of a layer lie in the wider one: their rows and their columns, and its size."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    size: tuple[int, int]


def placements(network: nn.Module, round_to: int = 1) -> dict[str, Placement]:
    """Return where the weights of every layer lie in ``widened(network, round_to)``.

    Raises:
        ArchitectureError: The network has an operation that pruning does not know.
    """
    graph = channel_graph(network)
    return _placements(network, graph, _layout(graph, round_to))


@torch.no_grad()
def widened(network: nn.Module, round_to: int = 1) -> fx.GraphModule:
    """Return a wider network that computes the same by plain sums, without unions.

    Each writer of a residual stream has rows for all channels of the stream; those of other writers are zero.

    Args:
        network: A dense or pruned network; not changed.
        round_to: Widths are raised to multiples of it, by channels of zeros. Streams keep their width that hold the
            input or an output, or that a convolution in groups writes or reads.

    Raises:
        ArchitectureError: The network has an operation that pruning does not know.
    """
    graph = channel_graph(network)
    places = _layout(graph, round_to)
    whole = _placements(network, graph, places)
    wide = trace_forward(copied(network))
    nodes = {node.name: node for node in wide.graph.nodes}
    for step in graph.steps:
        if step.kind in LAYERS:
            _widen_layer_(wide.get_submodule(step.module), whole[step.module], step.name in graph.grouped)
        elif step.kind == "norm":
            _widen_norm_(wide.get_submodule(step.module), places.rows[step.name], places.widths[step.name])
        elif step.kind == "union":
            node = nodes[step.name]
            with wide.graph.inserting_after(node):
                node.replace_all_uses_with(wide.graph.call_function(operator.add, tuple(node.args[:2])))
            wide.graph.erase_node(node)
    wide.delete_all_unused_submodules()
    wide.graph.lint()
    wide.recompile()
    same_modes_(wide, network)
    return wide


def _layout(graph: ChannelGraph, round_to: int) -> Layout:
    return layout(graph, {layer: range(width) for layer, width in graph.widths().items()}, round_to)


def _placements(network: nn.Module, graph: ChannelGraph, places: Layout) -> dict[str, Placement]:
    return {
        step.module: _placement(step, network.get_submodule(step.module), graph, places)
        for step in graph.steps
        if step.kind in LAYERS
    }


def _placement(step: Step, layer: nn.Module, graph: ChannelGraph, places: Layout) -> Placement:
    weight, source = layer.weight, step.sources[0]
    assert isinstance(weight, Tensor)
    rows, width = places.rows[step.name], places.widths[step.name]
    if step.kind == "depthwise" or step.name in graph.grouped:
        return Placement(rows, tuple(range(weight.shape[1])), (width, weight.shape[1]))
    spread = weight.shape[1] // graph.dense[source]  # above 1 after flattening a feature map
    columns = tuple(place * spread + offset for place in places.rows[source] for offset in range(spread))
    return Placement(rows, columns, (width, places.widths[source] * spread))


def _widen_layer_(module: nn.Module, place: Placement, in_groups: bool) -> None:
    assert isinstance(module, (nn.Conv2d, nn.Linear))
    rows, columns = (torch.tensor(each, device=module.weight.device) for each in (place.rows, place.columns))
    whole = module.weight.new_zeros(*place.size, *module.weight.shape[2:])
    whole[rows[:, None], columns] = module.weight
    module.weight = nn.Parameter(whole, module.weight.requires_grad)
    if module.bias is not None:
        module.bias = nn.Parameter(_laid(module.bias, place.rows, place.size[0]), module.bias.requires_grad)
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = place.size
    elif module.groups > 1 and not in_groups:
        module.in_channels = module.out_channels = module.groups = place.size[0]
    elif not in_groups:
        module.out_channels, module.in_channels = place.size


def _widen_norm_(module: nn.Module, rows: Sequence[int], width: int) -> None:
    assert isinstance(module, nn.BatchNorm2d)
    parameters: Mapping[str, Tensor | None] = {**module._parameters, **module._buffers}
    for name in ("weight", "bias", "running_mean", "running_var"):
        tensor = parameters[name]
        if tensor is not None:
            laid = _laid(tensor, rows, width, FILLS.get(name, 0.0))
            trained = isinstance(tensor, nn.Parameter)
            setattr(module, name, nn.Parameter(laid, tensor.requires_grad) if trained else laid)
    module.num_features = width


def _laid(tensor: Tensor, rows: Sequence[int], width: int, fill: float = 0.0) -> Tensor:
    """Return a tensor (C,) at the places ``rows`` of a wider one (width,)."""
    found = tensor.new_full((width,), fill)
    found[torch.tensor(rows, device=tensor.device)] = tensor.detach()
    return found
