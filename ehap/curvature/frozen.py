"""A private copy of a network to differentiate: eval mode, BatchNorm folded, gradients in channel weights only."""

import copy

import torch
from torch import Tensor, nn

from ehap.models.folding import FoldedConv, fold_norms


def channel_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights whose rows are channels: those of convolutions and linear layers, by parameter name."""
    return {
        f"{name}.weight": module.weight
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    }


def frozen_copy(model: nn.Module, channels_last: bool = True) -> tuple[nn.Module, dict[str, Tensor]]:
    """Return a copy in eval mode and its channel weights, under the names and in the order of the original's.

    Where each BatchNorm stands directly behind a convolution it becomes a fixed factor on that convolution's weight
    and a bias, in the graph: derivatives in the weights stay the same, feature maps are passed over once less.
    Only channel weights require a gradient.
    """
    quiet = copy.deepcopy(model).eval()
    try:
        twin: nn.Module = fold_norms(quiet)
    except Exception:  # torch.fx raises whatever the code of a network that it cannot trace raises
        twin = quiet
    twin.eval().requires_grad_(False)
    if channels_last:
        twin.to(memory_format=torch.channels_last)
    weights = {}
    for name in channel_weights(model):
        module = twin.get_submodule(name.removesuffix(".weight"))
        inner = module.conv if isinstance(module, FoldedConv) else module
        assert isinstance(inner.weight, Tensor)
        weights[name] = inner.weight.requires_grad_()
    return twin, weights
