"""Scores of the channels of one layer, from its inputs, outputs and output gradients in one pass.

Each function returns (K, N, C) float64: a column of the loss's Hessian in the logits, an image and a channel each. For
scores of the own loss K is 1. The docstring of ``exact`` explains why their sums are exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ehap.curvature.layers import ExactLayer
from ehap.curvature.samples import by_position, squared_norms, unfolded, weighted_squares, wide_type


@dataclass(frozen=True)
class LayerPass:
    """Tensors of a layer in one pass over some images.

    layer: The layer. delta: (K, N, C, P), gradients at its output for K columns and P positions of all its calls.
    own: (1, N, C, P), those of each image's own loss; only where such scores are wanted. inputs, outputs: One for each
    call.
    """

    layer: ExactLayer
    delta: Tensor
    own: Tensor
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]

    @cached_property
    def patches(self) -> Tensor:
        """The inputs that each output position reads: (N, groups, D, P)."""
        geometry = self.layer.geometry
        return torch.cat([unfolded(geometry, each.to(self.delta.dtype)) for each in self.inputs], dim=3)

    @cached_property
    def value(self) -> Tensor:
        """The output: (N, C, P)."""
        return torch.cat([by_position(self.layer.geometry, each.detach()) for each in self.outputs], dim=2)


def trace(seen: LayerPass) -> Tensor:
    """Return ‖∂/∂w_c‖²."""
    return squared_norms(seen.patches, seen.delta).double() * seen.layer.factor.square()


def diagonal(seen: LayerPass) -> Tensor:
    """Return ½ Σ_i w_ci² (∂/∂w_ci)²."""
    squares = weighted_squares(seen.patches, seen.delta, seen.layer.weight.square()).double()
    return squares * seen.layer.factor.square() / 2


def block(seen: LayerPass) -> Tensor:
    """Return ½ (w_cᵀ ∂/∂w_c)²; the output without its bias is linear in w_c."""
    return _inner(seen.delta, seen.value - seen.layer.bias.view(-1, 1)).square() / 2


def gate(seen: LayerPass) -> Tensor:
    """Return ½ (∂/∂g_c)²."""
    return _inner(seen.delta, seen.value).square() / 2


def fisher(seen: LayerPass) -> Tensor:
    """Return ½ (∂l/∂g_c)² of each image's own loss l."""
    return _inner(seen.own, seen.value).square() / 2


def taylor(seen: LayerPass) -> Tensor:
    """Return |∂l/∂g_c| of each image's own loss l."""
    return _inner(seen.own, seen.value).abs()


def _inner(delta: Tensor, value: Tensor) -> Tensor:
    """Return Σ_p δ(p) a(p) of each column, image and channel: (K, N, C) float64."""
    wide = wide_type(delta)
    return (delta.to(wide) * value.to(wide)).sum(3).double()
