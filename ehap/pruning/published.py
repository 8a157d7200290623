"""The rule by which the published code removes channels, with its faults."""

from collections.abc import Mapping, Sequence

from ehap.errors import PlanError
from ehap.graph.channels import ChannelGraph


def as_published(
    graph: ChannelGraph, values: Mapping[str, Sequence[float]], prune_ratio: float | None, prune_ratio_limit: float
) -> dict[str, list[int]]:
    """Return the channels that the published pruner keeps; its threshold removes int(prune_ratio · N) + 1."""
    if prune_ratio is None:
        raise PlanError("rule as_published needs a prune_ratio; it knows no budget of parameters or FLOPs.")
    ranking = sorted(value for each in values.values() for value in each)
    threshold = ranking[int(prune_ratio * len(ranking))]
    kept = {}
    for layer, each in values.items():
        above = _above(each, threshold)
        if 1 - len(above) / len(each) > prune_ratio_limit:
            above = _above(each, sorted(each)[int(prune_ratio_limit * len(each))])
        kept[layer] = list(range(len(each))) if layer in graph.unpruned() else above
    return kept


def _above(values: Sequence[float], threshold: float) -> list[int]:
    """Return the channels above a threshold; where there is none, channel 0, best or not."""
    return [index for index, value in enumerate(values) if value > threshold] or [0]
