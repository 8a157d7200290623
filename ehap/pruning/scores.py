"""How much a channel matters: one score for each output channel."""

import math
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from ehap.errors import ArchitectureError, NumericsError, PlanError
from ehap.graph.channels import channel_graph

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


def geometric_mean(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> Scores:
    """Return √(first · second) of each channel; negative scores, as noisy traces give, count as 0.

    Args:
        first: Layer name to (C_out,), or to nothing where a layer has no scores: it stays so.
        second: The same for every layer of ``first``.

    Raises:
        PlanError: ``second`` lacks a layer.
    """
    missing = [name for name in first if name not in second]
    if missing:
        raise PlanError(f"expected both scores of each layer, but the second has none of {', '.join(missing[:4])}.")
    return {
        name: (scores.double().clamp_min(0) * second[name].clamp_min(0)).sqrt() if len(scores) else scores
        for name, scores in first.items()
    }


def bn_scale(model: nn.Module) -> Scores:
    """Return |γ| of the BatchNorm behind each channel; where a layer has none, one for every channel.

    Source: Liu et al. 2017, Learning Efficient Convolutional Networks through Network Slimming, arXiv:1708.06519.

    Raises:
        ArchitectureError: A convolution has no BatchNorm of its own, or pruning does not know the network.
    """
    graph = channel_graph(model)
    writers = {step.name: step.module for step in graph.steps if step.kind in ("conv", "linear")}
    norms = {
        writers[step.sources[0]]: step for step in graph.steps if step.kind == "norm" and step.sources[0] in writers
    }
    scores = {}
    for layer, width in graph.widths().items():
        if layer in norms:
            scores[layer] = model.get_parameter(f"{norms[layer].module}.weight").detach().double().abs()
        elif layer in graph.unpruned():
            scores[layer] = torch.ones(width, dtype=torch.float64)  # never removed
        else:
            raise ArchitectureError(
                f"{layer}: criterion bn-scale expects a BatchNorm behind it; take another criterion."
            )
    return scores


def lamp(scores: Sequence[float]) -> list[float]:
    """Return each score of a layer divided by the sum of the scores in the layer that are no smaller.

    So the best channel of every layer has the score 1 and layers are balanced. Negative scores, as noisy traces give,
    count as 0; 0 / 0 is 0. Removed channels (−inf) stay so.

    Raises:
        NumericsError: A score is NaN or infinite above.

    Source: Lee et al. 2021, Layer-adaptive Sparsity for the Magnitude-based Pruning, arXiv:2010.07611, for channels.
    """
    values = torch.tensor(scores, dtype=torch.float64)
    if values.isnan().any() or values.isposinf().any():
        raise NumericsError("expected finite scores to balance, got NaN or Inf.")
    positive = values.clamp_min(0)
    above = ((values.unsqueeze(0) >= values.unsqueeze(1)) * positive).sum(1)
    shares = torch.where(positive > 0, positive / above, 0.0)
    found: list[float] = torch.where(values.isneginf(), values, shares).tolist()
    return found


def random_scores(weights: Mapping[str, Tensor], seed: int) -> Scores:
    """Return a uniform draw from [0, 1) for each channel: layer name to (C_out,) float64."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(weight.shape[0], generator=generator, dtype=torch.float64) for name, weight in weights.items()
    }


def checked_scores(
    scores: Mapping[str, Tensor], widths: Mapping[str, int], layers: Collection[str]
) -> dict[str, list[float]]:
    """Return the scores of the layers to rank as numbers.

    Args:
        scores: Layer name to (C_out,).
        widths: The layers to rank, and their channels.
        layers: All layers of the network; the scores of those that are not ranked are left out.

    Raises:
        PlanError: A layer has none, or some of another shape or without values, or there are some of another network.
        NumericsError: One of them is NaN or infinite.
    """
    found = {layer: _checked(layer, width, scores) for layer, width in widths.items()}
    strange = [layer for layer in scores if layer not in layers]
    if strange:
        raise PlanError(
            f"{strange[0]!r:.80}: expected scores of this network, which has no such layer; give scores of its own."
        )
    return found


def _checked(layer: str, width: int, scores: Mapping[str, Tensor]) -> list[float]:
    if layer not in scores and f"{layer}.weight" in scores:
        raise PlanError(f"{layer}: expected scores by paths of modules, got {layer}.weight; leave out .weight.")
    given = scores.get(layer)
    if not isinstance(given, Tensor) or given.shape != (width,) or given.is_complex() or given.is_meta:
        kind = f"{given.dtype} of shape {tuple(given.shape)}" if isinstance(given, Tensor) else type(given).__name__
        found = "none" if given is None else f"{kind} without values" if getattr(given, "is_meta", False) else kind
        raise PlanError(f"{layer}: expected a tensor of {width} scores, one for each channel, got {found}.")
    values: list[float] = given.tolist()
    if not all(map(math.isfinite, values)):
        raise NumericsError(f"{layer}: the scores hold NaN or Inf; a ranking needs finite ones.")
    return values
