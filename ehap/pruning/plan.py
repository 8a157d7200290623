"""From scores and a budget to the channels that stay."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from ehap.errors import NumericsError, PlanError
from ehap.pruning.channels import ChannelGraph, channel_graph
from ehap.pruning.counting import ParameterCounter
from ehap.settings import Prune


@dataclass(frozen=True)
class PruningPlan:
    """The channels that stay.

    kept: Layer name to its sorted kept output channels, for every convolution and linear layer.
    parameters: Of the pruned network. dense_parameters: Of the original one.
    """

    kept: dict[str, list[int]]
    parameters: int
    dense_parameters: int


@dataclass(frozen=True)
class _Channel:
    score: float
    layer: str
    index: int
    removable: bool


def plan(model: nn.Module, scores: Mapping[str, Tensor], settings: Prune) -> PruningPlan:
    """Choose the channels to keep from one global ranking of all channels.

    The lowest channels of the ranking go: floor(prune_ratio · N) of the N ranked ones, or, for a budget, the
    fewest that bring the parameters to at most ``params`` of the original. A layer always keeps its
    max(1, C − floor(prune_ratio_limit · C)) best channels and the final layer all its rows; those count in the
    ranking but never go. Ties break by layer order, then by channel index.

    Args:
        model: The dense network.
        scores: Layer name to (C_out,), one entry for each convolution and linear layer.
        settings: The budget and the limit per layer.

    Raises:
        PlanError: Scores are missing or of a wrong shape, or the budget lies below what the limit lets reach.
        NumericsError: A score is NaN or infinite.
    """
    graph = channel_graph(model)
    ranking = _ranking(graph, scores, settings.prune_ratio_limit)
    counter = ParameterCounter(model, graph)
    dense = counter(_kept(graph, ranking, 0))
    if settings.prune_ratio is not None:
        removed = math.floor(settings.prune_ratio * len(ranking))
    else:
        assert settings.params is not None  # exactly one is given, see Prune
        removed = _fewest(graph, ranking, counter, settings.params * dense)
    kept = _kept(graph, ranking, removed)
    return PruningPlan(kept, counter(kept), dense)


def _ranking(graph: ChannelGraph, scores: Mapping[str, Tensor], limit: float) -> list[_Channel]:
    """Return all channels, lowest score first."""
    channels: list[_Channel] = []
    final = graph.unpruned()
    for layer, width in graph.layers().items():
        values = _checked(layer, width, scores)
        best_first = sorted(range(width), key=lambda index: (-values[index], -index))
        protected = set(best_first if layer in final else best_first[: max(1, width - math.floor(limit * width))])
        channels += [_Channel(values[index], layer, index, index not in protected) for index in range(width)]
    return sorted(channels, key=lambda channel: channel.score)  # stable: ties by layer order, then index


def _checked(layer: str, width: int, scores: Mapping[str, Tensor]) -> list[float]:
    if layer not in scores or scores[layer].shape != (width,):
        found = "none" if layer not in scores else f"shape {tuple(scores[layer].shape)}"
        raise PlanError(f"{layer}: expected scores of shape ({width},), got {found}.")
    values: list[float] = scores[layer].tolist()
    if not all(map(math.isfinite, values)):
        raise NumericsError(f"{layer}: the scores hold NaN or Inf; a ranking needs finite ones.")
    return values


def _kept(graph: ChannelGraph, ranking: list[_Channel], removed: int) -> dict[str, list[int]]:
    gone = {(channel.layer, channel.index) for channel in ranking[:removed] if channel.removable}
    return {
        layer: [index for index in range(width) if (layer, index) not in gone]
        for layer, width in graph.layers().items()
    }


def _fewest(graph: ChannelGraph, ranking: list[_Channel], counter: ParameterCounter, budget: float) -> int:
    """Return the smallest number of removed channels that meets the budget; parameters fall with that number."""
    smallest = counter(_kept(graph, ranking, len(ranking)))
    if smallest > budget:
        raise PlanError(
            f"expected a budget that can be met: {budget:.0f} parameters asked for, but the limit per layer leaves at "
            f"least {smallest}; raise params or prune_ratio_limit."
        )
    low, high = 0, len(ranking)
    while low < high:
        middle = (low + high) // 2
        if counter(_kept(graph, ranking, middle)) <= budget:
            high = middle
        else:
            low = middle + 1
    return low
