"""Hessian-vector products of the mean cross-entropy, in FP32 and in scaled half precision."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ehap.runtime.device import precision_context
from ehap.settings.checks import Precision

FIRST_ORDER_SCALE = 2.0**8
"""The loss of a half-precision pass is multiplied by it before the first backward pass, the gradient divided by it."""


class HessianProduct:
    """Products with the Hessian of the mean cross-entropy in the channel weights.

    The first-order gradient is taken once, with its graph; each product is one more backward pass through it.

    Args:
        model: The network, in the mode in which the Hessian is wanted (eval for channel traces).
        weights: The parameters of ``model`` in which to differentiate.
        images: (N, 3, H, W), normalised.
        labels: (N,) int64.
        precision: fp16 and bf16 run the forward and both backward passes under autocast (Algorithm 2).
        first: Factor on the loss before the first backward pass in half precision; the gradient is divided by it.
        loss_factor: Multiplies the loss, and so the Hessian.

    Source: Chong, Gupta, Chen, Resource Efficient Neural Networks Using Hessian Based Pruning, Algorithms 1 and 2.
    """

    def __init__(
        self,
        model: nn.Module,
        weights: Sequence[Tensor],
        images: Tensor,
        labels: Tensor,
        precision: Precision = "fp32",
        first: float = FIRST_ORDER_SCALE,
        loss_factor: float = 1.0,
    ) -> None:
        self._weights, self._precision, self._device = list(weights), precision, images.device
        self._first = 1.0 if precision == "fp32" else first
        with torch.enable_grad(), precision_context(precision, self._device):
            loss = cross_entropy(model(images), labels) * (loss_factor * self._first)
            found = torch.autograd.grad(loss, self._weights, create_graph=True, materialize_grads=True)
        self._used = [index for index, gradient in enumerate(found) if gradient.requires_grad]
        self._gradients = [found[index] for index in self._used]

    def finite(self) -> bool:
        """Return whether the first-order gradient holds finite numbers only."""
        return all(bool(gradient.isfinite().all()) for gradient in self._gradients)

    def __call__(self, vectors: Sequence[Tensor], scale: float = 1.0) -> tuple[Tensor, ...]:
        """Return scale · Hv, in loss units per squared weight unit.

        Args:
            vectors: v, one for each weight, of its shape.
            scale: Factor on the gradients before the second backward pass. In half precision the product may hold
                Inf or NaN where it is too high, and zeros where it is too low: the caller checks.
        """
        with precision_context(self._precision, self._device):
            seeds = [vectors[index] * (scale / self._first) for index in self._used]
            return torch.autograd.grad(
                self._gradients, self._weights, grad_outputs=seeds, retain_graph=True, materialize_grads=True
            )
