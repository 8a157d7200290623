"""Derivatives of an image's logits in channels, and the scores that follow from them: a reference for comparison."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

NONE = torch.empty(0)


@dataclass(frozen=True)
class Derivatives:
    """The derivatives of an image's K logits in the drawn channels of one layer.

    probabilities: (K,). weights: (K, channels, weights of a channel). gates: (K, channels). values: (channels, weights
    of a channel), the weights themselves. label: Class of the image.
    """

    probabilities: Tensor
    weights: Tensor
    gates: Tensor
    values: Tensor
    label: int

    @property
    def slope(self) -> Tensor:
        """The derivative of the image's own loss in the gates: (channels,)."""
        own = self.probabilities.clone()
        own[self.label] -= 1
        return (own[:, None] * self.gates).sum(0)


def trace(layer: Derivatives) -> tuple[Tensor, Tensor]:
    """Return the trace of each channel, and its value for logits of curvature 1; so do the functions below."""
    return _quadratic(layer, layer.weights, 1.0)


def diagonal(layer: Derivatives) -> tuple[Tensor, Tensor]:
    """Return ½ Σ_i H_ii w_i²."""
    return _quadratic(layer, layer.weights * layer.values, 0.5)


def block(layer: Derivatives) -> tuple[Tensor, Tensor]:
    """Return ½ wᵀ H w."""
    return _quadratic(layer, (layer.weights * layer.values).sum(2, keepdim=True), 0.5)


def gate(layer: Derivatives) -> tuple[Tensor, Tensor]:
    """Return ½ ∂²L/∂g²."""
    return _quadratic(layer, layer.gates[:, :, None], 0.5)


def fisher(layer: Derivatives) -> tuple[Tensor, Tensor]:
    """Return ½ (∂l/∂g)²."""
    return layer.slope.square() / 2, layer.gates.square().sum(0) / 2


def taylor(layer: Derivatives) -> tuple[Tensor, Tensor]:
    """Return |∂l/∂g|."""
    return layer.slope.abs(), layer.gates.abs().sum(0)


def _quadratic(layer: Derivatives, rows: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    return factor * _curvature(layer.probabilities, rows).sum(1), factor * rows.square().sum((0, 2))


@dataclass(frozen=True)
class Jacobian:
    """The derivatives of an image's K logits in the drawn channels of every layer.

    probabilities: (K,). weights: Layer to (K, channels, weights of a channel). gates: Layer to (K, channels).
    """

    probabilities: Tensor
    weights: Mapping[str, Tensor]
    gates: Mapping[str, Tensor]

    def of_layer(self, name: str, values: Tensor, label: int) -> Derivatives:
        """Return the derivatives of one layer.

        Args:
            name: Name of the layer.
            values: (channels, weights of a channel), the weights themselves.
            label: Class of the image.
        """
        weights, gates = self.weights.get(name, NONE), self.gates.get(name, NONE)
        return Derivatives(self.probabilities, weights, gates, values, label)

    def along_weights(self, name: str, direction: Tensor) -> tuple[float, float]:
        """Return the curvature of a layer's first drawn channel along a direction, and that of logits of curvature 1.

        Args:
            name: Name of the layer.
            direction: Direction, in the shape of a channel's weights.
        """
        return self._along((self.weights[name][:, :1] * direction.flatten()).sum(2, keepdim=True))

    def along_gates(self, name: str) -> tuple[float, float]:
        """Return the curvature of the gate of a layer's first drawn channel, and that of logits of curvature 1."""
        return self._along(self.gates[name][:, :1, None])

    def _along(self, rows: Tensor) -> tuple[float, float]:
        return float(_curvature(self.probabilities, rows).sum()), float(rows.square().sum())


def _curvature(probabilities: Tensor, rows: Tensor) -> Tensor:
    """Return Σ_kl (diag(p) - p pᵀ)_kl r_k r_l of rows (K, channels, n): (channels, n), as a sum of squares."""
    p = probabilities[:, None, None]
    return (p * (rows - (p * rows).sum(0)).square()).sum(0)
