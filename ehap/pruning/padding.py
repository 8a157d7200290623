"""A pruned network with plain sums: a writer of a residual stream has rows, zero where needed, for all its channels."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from ehap.graph.channels import LAYERS, Kept, channel_graph, places_among
from ehap.pruning.plan import PruningPlan
from ehap.pruning.surgery import checked_kept


@dataclass(frozen=True)
class Placement:
    """Where the weights of a pruned layer lie in the expanded one: their rows and their columns, and its size."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    size: tuple[int, int]


def expanded(model: nn.Module, plan: PruningPlan | Kept, round_to: int = 1) -> dict[str, list[int]]:
    """Return the plan in which all writers of a stream keep the union of their channels.

    Its network needs no unions, unless the input itself is added to a stream.

    Args:
        model: The dense network.
        plan: The plan, or its kept channels.
        round_to: Widths are raised to multiples of it, as far as a layer has channels.

    Raises:
        PlanError: The plan is for another network.
        ArchitectureError: The network has an operation that pruning does not know.
    """
    graph = channel_graph(model)
    kept = checked_kept(graph, plan)
    widths = graph.widths()
    found: dict[str, list[int]] = {}
    for group in graph.tied():
        together = {channel for layer in group for channel in kept[layer]}
        width = widths[group[0]]
        wanted = min(width, -(-len(together) // round_to) * round_to)
        spare = (channel for channel in range(width) if channel not in together)
        together |= {channel for channel, _ in zip(spare, range(wanted - len(together)), strict=False)}
        found |= dict.fromkeys(group, sorted(together))
    return {layer: found[layer] for layer in widths}


@torch.no_grad()
def lay_into_(wide: nn.Module, narrow: nn.Module, places: Mapping[str, Placement]) -> None:
    """Give a wider network, in place, the weights of a narrow one and zeros everywhere else: it computes the same.

    Args:
        wide: The wider network, with BatchNorm fused (``fuse_norms``): every convolution has a bias.
        narrow: The narrower network, fused, too.
        places: Result of ``placements``.
    """
    for layer, place in places.items():
        for parameter in wide.get_submodule(layer).parameters():
            parameter.zero_()
        rows = torch.tensor(place.rows)
        weight, bias = wide.get_parameter(f"{layer}.weight"), wide.get_parameter(f"{layer}.bias")
        weight[rows[:, None], torch.tensor(place.columns)] = narrow.get_parameter(f"{layer}.weight")
        bias[rows] = narrow.get_parameter(f"{layer}.bias")


def placements(model: nn.Module, plan: PruningPlan | Kept, wide: Kept) -> dict[str, Placement]:
    """Return where the weights of every layer pruned by ``plan`` lie in the network pruned by ``wide``.

    Args:
        model: The dense network.
        plan: The kept channels.
        wide: The wider plan, as ``expanded`` returns it.

    Raises:
        PlanError: A plan is for another network.
        ArchitectureError: The network has an operation that pruning does not know.
    """
    graph = channel_graph(model)
    small, large = (graph.carried(checked_kept(graph, each)) for each in (plan, wide))
    found = {}
    for step in graph.steps:
        if step.kind not in LAYERS:
            continue
        source, weight = step.sources[0], model.get_parameter(f"{step.module}.weight")
        rows = places_among(small[step.name], large[step.name])
        if step.kind == "depthwise" or step.name in graph.grouped:
            columns, width = tuple(range(weight.shape[1])), weight.shape[1]
        else:
            spread = weight.shape[1] // graph.dense[source]  # above 1 after flattening a feature map
            places = places_among(small[source], large[source])
            columns = tuple(place * spread + offset for place in places for offset in range(spread))
            width = len(large[source]) * spread
        found[step.module] = Placement(rows, columns, (len(large[step.name]), width))
    return found
