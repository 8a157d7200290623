"""Convolutions whose second derivatives are again convolutions of the network's own kind.

torch differentiates the backward pass of a convolution into another convolution. Its kernel is a whole feature map, and
its channels are the images of the batch. Libraries are tuned for small kernels, so this may take many times as long.
Here three maps give the output, the gradient in the input and the gradient in the weight. Each is linear in two of
weight, input and output, and the other two maps are its derivatives.
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
            _Gradient.apply(gradient, weight, x.shape, ctx.geometry, 0) if wanted[0] else None,
            _Gradient.apply(gradient, x, weight.shape, ctx.geometry, 1) if wanted[1] else None,
            None,
        )


class _Gradient(torch.autograd.Function):
    """(gradient of the output, other) to the gradient of the input (which 0) or of the weight (which 1).

    ``other`` is the weight for the gradient of the input, and the input for the gradient of the weight.
    """

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, other: Tensor, shape: torch.Size, geometry: Geometry, which: int) -> Tensor:
        ctx.save_for_backward(gradient, other)
        ctx.geometry, ctx.which = geometry, which
        blank = gradient.new_empty(1).expand(shape)
        x, weight = (blank, other) if which == 0 else (other, blank)
        return _backward(gradient, x, weight, geometry, which)

    @staticmethod
    def backward(ctx: Any, second: Tensor) -> Any:
        gradient, other = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        pair = (second, other) if ctx.which == 0 else (other, second)
        return (
            _Output.apply(*pair, ctx.geometry) if wanted[0] else None,
            _Gradient.apply(gradient, second, other.shape, ctx.geometry, 1 - ctx.which) if wanted[1] else None,
            *(None, None, None),
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
