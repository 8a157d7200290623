"""Convolutions whose second derivatives are again convolutions of the network's own kind.

torch differentiates the backward pass of a convolution into one whose kernel is a whole feature map and whose channels
are the images of the batch. Libraries tune for small kernels: there it may take many times as long. The three maps here
(output, gradient in the input, gradient in the weight) are each linear in two of weight, input and output, and each
is differentiated by the other two.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ehap.curvature.frozen import frozen_copy, geometry
from ehap.curvature.hutchinson import per_channel, rademacher
from ehap.curvature.products import FIRST_ORDER_SCALE, HessianProduct
from ehap.settings.checks import Precision

Geometry = tuple[list[int], list[int], list[int], int]
"""Stride, padding, dilation, groups."""


def regular_(network: nn.Module) -> None:
    """Have every convolution of a network compute so, in place; padding with zeros only."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.padding_mode == "zeros" and not isinstance(module.padding, str):
            module._conv_forward = _Forward(module)  # type: ignore[assignment, method-assign]


class _Forward:
    def __init__(self, conv: nn.Conv2d) -> None:
        assert not isinstance(conv.padding, str)
        self._geometry: Geometry = list(conv.stride), list(conv.padding), list(conv.dilation), conv.groups

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if torch.is_autocast_enabled(x.device.type):
            kind = torch.get_autocast_dtype(x.device.type)
            x, weight = x.to(kind), weight.to(kind)
        result: Tensor = _Output.apply(x, weight, self._geometry)
        return result if bias is None else result + bias.to(result.dtype).view(-1, 1, 1)


class _Output(torch.autograd.Function):
    """(x, weight) to the output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        return torch.conv2d(x, weight, None, *geometry)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return (
            _InInput.apply(gradient, weight, x.shape, ctx.geometry) if wanted[0] else None,
            _InWeight.apply(gradient, x, weight.shape, ctx.geometry) if wanted[1] else None,
            None,
        )


class _InInput(torch.autograd.Function):
    """(gradient of the output, weight) to the gradient of the input."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, weight: Tensor, shape: torch.Size, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(gradient, weight)
        ctx.geometry = geometry
        blank = gradient.new_empty(1).expand(shape)
        return _backward(gradient, blank, weight, geometry, 0)

    @staticmethod
    def backward(ctx: Any, second: Tensor) -> Any:
        gradient, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return (
            _Output.apply(second, weight, ctx.geometry) if wanted[0] else None,
            _InWeight.apply(gradient, second, weight.shape, ctx.geometry) if wanted[1] else None,
            *(None, None),
        )


class _InWeight(torch.autograd.Function):
    """(gradient of the output, x) to the gradient of the weight."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, x: Tensor, shape: torch.Size, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(gradient, x)
        ctx.geometry = geometry
        blank = gradient.new_empty(1).expand(shape)
        return _backward(gradient, x, blank, geometry, 1)

    @staticmethod
    def backward(ctx: Any, second: Tensor) -> Any:
        gradient, x = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return (
            _Output.apply(x, second, ctx.geometry) if wanted[0] else None,
            _InInput.apply(gradient, second, x.shape, ctx.geometry) if wanted[1] else None,
            *(None, None),
        )


def _backward(gradient: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, which: int) -> Tensor:
    stride, padding, dilation, groups = geometry
    mask = [which == number for number in range(3)]
    found: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, stride, padding, dilation, False, [0, 0], groups, mask
    )
    return found[which]


def regular_samples(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    totals: Mapping[str, Tensor],
    samples: int,
    precision: Precision = "fp32",
) -> Iterator[None]:
    """Take the gradient of the whole batch, then add samples to ``totals``: our products with regular convolutions.

    Args and steps as for ``benchmark.published_samples``.
    """
    frozen = frozen_copy(model)
    twin, layers = frozen.network, frozen.layers
    regular_(twin)
    weights: list[Tensor] = [geometry(layer).weight for layer in layers.values()]
    images = images.contiguous(memory_format=torch.channels_last)
    product = HessianProduct(twin, weights, images, labels, precision)
    scale = 1.0 if precision == "fp32" else FIRST_ORDER_SCALE
    yield
    for sample in range(samples):
        vectors = rademacher(weights, 0, sample, 0)
        found = (per_channel(vectors, product(vectors, scale)) / scale).double().cpu()
        for name, part in zip(layers, found.split([len(weight) for weight in weights]), strict=True):
            totals[name] += part
        yield
