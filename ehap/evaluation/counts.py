"""Parameters and FLOPs of a network."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(model: nn.Module) -> int:
    """Return the number of parameters: weights, biases, BatchNorm scales and shifts."""
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def flops(model: nn.Module, input_shape: tuple[int, int, int]) -> int:
    """Return the FLOPs of convolutions and linear layers for one image; a multiply-add counts 2.

    Args:
        model: On the CPU; left in eval mode.
        input_shape: (C, H, W).
    """
    model.eval()
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *input_shape))
    return int(counter.get_total_flops())
