"""Hessian-vector products of the mean cross-entropy, in FP32 and in scaled half precision."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ehap.runtime import precision_context
from ehap.settings.checks import Precision

FIRST_ORDER_SCALE = 2.0**8
"""The loss of a half-precision pass is multiplied by it before the first backward pass, the gradient divided by it."""

Product = Callable[[Sequence[Tensor]], tuple[Tensor, ...]]


def channel_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights whose rows are channels: those of convolutions and linear layers, by parameter name."""
    return {
        f"{name}.weight": module.weight
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    }


def hessian_product(
    model: nn.Module, images: Tensor, labels: Tensor, precision: Precision = "fp32", scale: float = 1.0
) -> Product:
    """Prepare products with the Hessian of the mean cross-entropy in the convolution and linear weights.

    The first-order gradient is taken once, with its graph; each product is one more backward pass through it.

    Args:
        model: In the mode in which the Hessian is wanted (eval for channel traces).
        images: (N, 3, H, W), normalised.
        labels: (N,) int64.
        precision: fp16 and bf16 run the forward and both backward passes under autocast (Algorithm 2).
        scale: Factor on the gradients before the second backward pass; the product is divided by it.

    Returns:
        A function from vectors v (one for each weight, same shapes, in the order of channel_weights) to Hv, in
        loss units per squared weight unit. In half precision Hv may hold Inf or NaN: the caller checks.

    Source: Chong, Gupta, Chen, Resource Efficient Neural Networks Using Hessian Based Pruning, Algorithms 1 and 2.
    """
    weights = list(channel_weights(model).values())
    first = 1.0 if precision == "fp32" else FIRST_ORDER_SCALE
    with precision_context(precision, images.device):
        loss = cross_entropy(model(images), labels) * first
        gradients = torch.autograd.grad(loss, weights, create_graph=True)

    def product(vectors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        factor = scale / first
        with precision_context(precision, images.device):
            seeds = [vector * factor for vector in vectors]
            products = torch.autograd.grad(gradients, weights, grad_outputs=seeds, retain_graph=True)
        return tuple(item / scale for item in products)

    return product
