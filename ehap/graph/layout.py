"""Networks in channels_last, around a fault of oneDNN's."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

CHANNEL_BLOCK = 16  # oneDNN computes so many channels at once, or 8


def channels_last_(model: nn.Module) -> nn.Module:
    """Put the weights of a network into channels_last, in place, and return it.

    CPUs and GPUs train convolutions of odd widths fastest in this layout.

    On a CPU, some convolutions compute the same sums in another way from then on: 1×1 convolutions with a stride and
    few input channels, such as the shortcut of a pruned network. They subsample their input and convolve without a
    stride. The reason is a fault of oneDNN on CPUs with AVX2 but without AVX-512. It writes past
    its workspace in the weight gradient of such a convolution: the gradient is wrong, or the process ends.

    Args:
        model: The network, on the device on which it will be trained.

    Source: oneDNN, issue 6035, 1x1 convolution backward_weights writes past the rtus workspace (nhwc, IC < ic_block),
    seen in torch 2.15.
    """
    model.to(memory_format=torch.channels_last)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.weight.device.type == "cpu" and _endangered(module):
            module._conv_forward = partial(_subsampled, module.stride)  # type: ignore[method-assign]
    return model


def _endangered(conv: nn.Conv2d) -> bool:
    pointwise = set(conv.kernel_size) == {1} and conv.padding in ((0, 0), "valid") and conv.groups == 1
    return pointwise and set(conv.stride) != {1} and conv.in_channels < CHANNEL_BLOCK


def _subsampled(stride: Sequence[int], x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return conv2d(x[:, :, :: stride[0], :: stride[1]], weight, bias)
