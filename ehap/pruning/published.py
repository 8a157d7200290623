"""The rule by which the published code removes channels, with its faults."""

from collections.abc import Mapping, Sequence

from ehap.errors import PlanError
from ehap.graph.channels import ChannelGraph
from ehap.settings.budget import Budget, Limits, Ranking


def as_published(
    graph: ChannelGraph, values: Mapping[str, Sequence[float]], budget: Budget, limits: Limits, ranking: Ranking
) -> dict[str, list[int]]:
    """Return the channels that the published pruner keeps; its threshold removes int(prune_ratio · N) + 1.

    Raises:
        PlanError: The settings have more than prune_ratio and prune_ratio_limit.
    """
    prune_ratio, prune_ratio_limit = budget.prune_ratio, limits.prune_ratio_limit
    own = (ranking.balance, ranking.residual, limits.min_channels, limits.round_to)
    if prune_ratio is None or own != ("none", "union", 1, 1):
        raise PlanError(
            "rule as_published has prune_ratio and prune_ratio_limit only; leave out budgets of parameters or FLOPs, "
            "balance, residual, min_channels and round_to."
        )
    ordered = sorted(value for each in values.values() for value in each)
    threshold = ordered[int(prune_ratio * len(ordered))]
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
