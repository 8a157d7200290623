"""Stability of the channels that a noisy estimate would keep."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

LEAST_RESAMPLINGS = 40


def stability(
    rows: Tensor,
    planned: Callable[[Tensor], Mapping[str, Sequence[int]]],
    confidence: float,
    widths: Sequence[int],
    seed: int = 0,
) -> float:
    """Return the overlap with the planned channels that a share ``confidence`` of resampled estimates reaches.

    The distance between an estimate's plan and the true plan is unknown, so it is simulated with known traces. These
    have the spread that the true traces must have. Their estimates get errors drawn from the samples with replacement
    (the bootstrap). The estimate cannot replace the known traces: its noise separates equal channels, and the overlap
    would be too high.

    Args:
        rows: (n, C) samples.
        planned: Maps traces (C,) to kept channels, layer by layer.
        confidence: Share of the resampled estimates, e.g. 0.95.
        widths: Channels of each layer; they sum to C.
        seed: Seed of the resampling.

    Returns:
        A Jaccard overlap, 0 to 1.

    Source: Efron 1979, doi:10.1214/aos/1176344552; Louis 1984, doi:10.2307/2288281.
    """
    generator = torch.Generator().manual_seed(seed)
    mean, truth = rows.mean(0), _with_true_spread(rows, widths)
    plan = planned(truth)
    overlaps = []
    for _ in range(max(LEAST_RESAMPLINGS, math.ceil(2 / (1 - confidence)))):  # a quantile must have values beyond it
        chosen = torch.randint(len(rows), (len(rows),), generator=generator)
        overlaps.append(jaccard(plan, planned(truth + rows[chosen].mean(0) - mean)))
    return float(torch.tensor(overlaps).quantile(1 - confidence, interpolation="lower"))


def _with_true_spread(rows: Tensor, widths: Sequence[int]) -> Tensor:
    """Return the mean of samples, drawn together within each layer until its variance is free of the noise's."""
    drawn = []
    for layer in rows.split(list(widths), dim=1):
        mean, noise = layer.mean(0), layer.var(0) / len(layer)
        spread = (mean.var(correction=0) - noise.mean()).clamp_min(0)
        share = (spread / (spread + noise).clamp_min(torch.finfo(noise.dtype).tiny)).sqrt()
        drawn.append(mean.mean() + share * (mean - mean.mean()))
    return torch.cat(drawn)


def jaccard(first: Mapping[str, Sequence[int]], second: Mapping[str, Sequence[int]]) -> float:
    """Return the number of channels that both plans keep / the number that at least one of them keeps."""
    one = {(name, index) for name, kept in first.items() for index in kept}
    other = {(name, index) for name, kept in second.items() for index in kept}
    return len(one & other) / max(1, len(one | other))
