"""What the derivatives of an image's logits say of channels: scores put together from them, for comparison."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ehap.curvature.exact import EMPIRICAL
from ehap.settings.trace import Curvature


@dataclass(frozen=True)
class Jacobian:
    """The derivatives of an image's K logits in the drawn channels of every layer.

    probabilities: (K,). weights: Layer name to (K, channels, weights of a channel). gates: Layer name to (K, channels).
    """

    probabilities: Tensor
    weights: Mapping[str, Tensor]
    gates: Mapping[str, Tensor]

    def score(self, criterion: Curvature, name: str, values: Tensor, label: int) -> tuple[Tensor, Tensor]:
        """Return the score of the drawn channels of a layer, and the one that logits of curvature 1 would give.

        Args:
            criterion: Of the score.
            name: Of the layer.
            values: (channels, weights of a channel), the weights themselves.
            label: Of the image.
        """
        if criterion in EMPIRICAL:
            own = self.probabilities.clone()
            own[label] -= 1
            slope = (own[:, None] * self.gates[name]).sum(0)
            if criterion == "taylor":
                return slope.abs(), self.gates[name].abs().sum(0)
            return slope.square() / 2, self.gates[name].square().sum(0) / 2
        rows = self.gates[name][:, :, None] if criterion == "gate" else self.weights[name]
        if criterion in ("diagonal", "block"):
            rows = rows * values
        if criterion == "block":
            rows = rows.sum(2, keepdim=True)
        factor = 1.0 if criterion == "trace" else 0.5
        return factor * self._curvature(rows).sum(1), factor * rows.square().sum((0, 2))

    def along_weights(self, name: str, direction: Tensor) -> tuple[float, float]:
        """Return the curvature of a layer's first drawn channel along a direction, and that of logits of curvature 1.

        Args:
            name: Of the layer.
            direction: Of the shape of a channel's weights.
        """
        rows = (self.weights[name][:, :1] * direction.flatten()).sum(2, keepdim=True)
        return float(self._curvature(rows).sum()), float(rows.square().sum())

    def along_gates(self, name: str) -> tuple[float, float]:
        """Return the curvature of the gate of a layer's first drawn channel, and that of logits of curvature 1."""
        rows = self.gates[name][:, :1, None]
        return float(self._curvature(rows).sum()), float(rows.square().sum())

    def _curvature(self, rows: Tensor) -> Tensor:
        """Return Σ_kl (diag(p) - p pᵀ)_kl r_k r_l of rows (K, channels, n): (channels, n), as a sum of squares."""
        p = self.probabilities[:, None, None]
        return (p * (rows - (p * rows).sum(0)).square()).sum(0)
