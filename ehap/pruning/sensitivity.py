"""How much a channel matters: one score for each output channel."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ehap.errors import NumericsError, PlanError

Scores = dict[str, Tensor]
"""Layer name to (C_out,): the higher, the more the channel matters."""


def sensitivity(traces: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Scores:
    """Return the paper's second-order sensitivity, trace / (2·p) · ‖w‖², of each channel.

    Args:
        traces: Layer name to (C_out,), in loss units per squared weight unit.
        weights: Layer name to (C_out, ...); p is the number of weights of one channel.

    Returns:
        Layer name to (C_out,) float64, in loss units. Negative where a noisy trace is.

    Raises:
        PlanError: A layer has no trace, or one of another width.
        NumericsError: A trace holds NaN or Inf.

    Source: Eq. 8 of the paper; Yu et al. 2021, Hessian-Aware Pruning, arXiv:2101.08940.
    """
    scores = {}
    for name, weight in weights.items():
        if name not in traces or traces[name].shape != weight.shape[:1]:
            found = "none" if name not in traces else f"shape {tuple(traces[name].shape)}"
            raise PlanError(f"{name}: expected one trace for each of {weight.shape[0]} channels, got {found}.")
        if not traces[name].isfinite().all():
            raise NumericsError(
                f"{name}: the traces hold NaN or Inf; compute them again with a lower scale or in fp32."
            )
        rows = weight.detach().double().flatten(1)
        scores[name] = traces[name].double() / (2 * rows.shape[1]) * rows.square().sum(1)
    return scores


def magnitude(weights: Mapping[str, Tensor]) -> Scores:
    """Return the mean squared weight of each channel: layer name to (C_out,) float64."""
    return {name: weight.detach().double().flatten(1).square().mean(1) for name, weight in weights.items()}


def random_scores(weights: Mapping[str, Tensor], seed: int) -> Scores:
    """Return a uniform draw from [0, 1) for each channel: layer name to (C_out,) float64."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(weight.shape[0], generator=generator, dtype=torch.float64) for name, weight in weights.items()
    }
