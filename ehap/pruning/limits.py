"""What the limits leave of each layer, and why layers stay whole."""

import math

from ehap.graph.channels import ChannelGraph, Kept
from ehap.settings.budget import Limits, Ranking

TOLERANCE = 1e-6  # of a product of a share and a whole number; far below one channel, parameter or FLOP


def reasons(graph: ChannelGraph, kept: Kept, limits: Limits, ranking: Ranking) -> dict[str, str]:
    """Return layer to why it stays whole, for those that may lose no channel."""
    fixed, widths = graph.unpruned(), graph.widths()
    found = {}
    for group in graph.tied() if ranking.residual == "tied" else [(layer,) for layer in widths]:
        ends = [layer for layer in group if layer in fixed]
        for layer in group:
            tied = f"tied to {ends[0]}" if ends else ""
            reason = fixed.get(layer) or tied or _limit(widths[layer], limits, ranking)
            if reason and len(kept[layer]) == widths[layer]:
                found[layer] = reason
    return {layer: found[layer] for layer in widths if layer in found}


def _limit(width: int, limits: Limits, ranking: Ranking) -> str:
    """Return the limit by which a layer of this width keeps all channels, or nothing."""
    if ranking.rule == "as_published":  # its threshold takes a channel under any limit
        return ""
    if limits.min_channels >= width:
        return f"limit: min_channels {limits.min_channels}"
    if least(width, limits) >= width:
        return f"limit: prune_ratio_limit {limits.prune_ratio_limit:g}"
    return f"limit: round_to {limits.round_to}" if rounded(least(width, limits), limits) >= width else ""


def least(width: int, limits: Limits) -> int:
    """Return the smallest number of channels that a layer keeps; it may be above its width."""
    return max(limits.min_channels, width - whole_part(limits.prune_ratio_limit * width))


def rounded(width: int, limits: Limits) -> int:
    """Return a width raised to a multiple; it may be above that of the layer."""
    return -(-width // limits.round_to) * limits.round_to


def whole_part(product: float) -> int:
    """Return the whole part of share · count: 0.29 · 100 is 29, though not in binary."""
    return math.floor(product + TOLERANCE)
