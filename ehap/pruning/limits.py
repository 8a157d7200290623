"""What the limits leave of each layer, and why layers stay whole."""

import math

from ehap.graph.channels import ChannelGraph, Kept
from ehap.settings.budget import Limits

TOLERANCE = 1e-6  # of a product of a share and a whole number; far below one channel, parameter or FLOP


def reasons(graph: ChannelGraph, kept: Kept, limits: Limits) -> dict[str, str]:
    """Return layer to why it stays whole, for those that may lose no channel."""
    fixed = graph.unpruned()
    limited = {layer for layer, width in graph.widths().items() if rounded(least(width, limits), limits) >= width}
    return {
        layer: fixed.get(layer, "limit of channels")
        for layer, width in graph.widths().items()
        if len(kept[layer]) == width and (layer in fixed or layer in limited)
    }


def least(width: int, limits: Limits) -> int:
    """Return the smallest number of channels that a layer keeps; it may be above its width."""
    return max(limits.min_channels, width - whole_part(limits.prune_ratio_limit * width))


def rounded(width: int, limits: Limits) -> int:
    """Return a width raised to a multiple; it may be above that of the layer."""
    return -(-width // limits.round_to) * limits.round_to


def whole_part(product: float) -> int:
    """Return the whole part of share · count: 0.29 · 100 is 29, though not in binary."""
    return math.floor(product + TOLERANCE)
