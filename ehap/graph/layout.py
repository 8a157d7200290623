"""Networks in channels_last, around a fault of oneDNN's."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

CHANNEL_BLOCK = 16  # oneDNN computes so many channels at once, or 8


def channels_last_(model: nn.Module) -> nn.Module:
    """Put the weights of a network into channels_last, in place, and return it.

    The layout in which CPUs and GPUs train convolutions of odd widths fastest. On a CPU, a 1×1 convolution that has a
    stride and reads few channels, such as the shortcut of a pruned network, computes from then on the same sums in
    another way: its input at the positions that the stride leaves, without a stride. For on a CPU that has AVX2 but no
    AVX-512, oneDNN writes past its workspace when it computes the weight gradient of such a convolution in this
    layout: the gradient is wrong, or the process ends.

    Args:
        model: On the device on which it will be trained.

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
