"""How stable the channels that a noisy estimate would keep are."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

RESAMPLINGS = 40


def stability(
    rows: Tensor, planned: Callable[[Tensor], Mapping[str, Sequence[int]]], confidence: float, seed: int = 0
) -> float:
    """Return the overlap with the planned channels that a share ``confidence`` of resampled estimates reaches.

    Samples are drawn anew with replacement (the bootstrap): how far the plans of such estimates lie from the plan of
    the estimate is how far that lies from the plan of the true traces.

    Args:
        rows: (n, C) samples.
        planned: From traces (C,) to kept channels, layer by layer.
        confidence: Share of the resampled estimates, e.g. 0.95.
        seed: Of the resampling.

    Returns:
        A Jaccard overlap, 0 to 1.

    Source: Efron 1979, doi:10.1214/aos/1176344552.
    """
    generator = torch.Generator().manual_seed(seed)
    plan = planned(rows.mean(0))
    overlaps = []
    for _ in range(RESAMPLINGS):
        chosen = torch.randint(len(rows), (len(rows),), generator=generator)
        overlaps.append(jaccard(plan, planned(rows[chosen].mean(0))))
    return float(torch.tensor(overlaps).quantile(1 - confidence, interpolation="lower"))


def jaccard(first: Mapping[str, Sequence[int]], second: Mapping[str, Sequence[int]]) -> float:
    """Return the share of channels that both keep among those that either keeps."""
    one = {(name, index) for name, kept in first.items() for index in kept}
    other = {(name, index) for name, kept in second.items() for index in kept}
    return len(one & other) / max(1, len(one | other))
