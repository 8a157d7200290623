"""The layers of a frozen network, as exact curvature needs them."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ehap.curvature.frozen import Layer
from ehap.errors import ArchitectureError
from ehap.graph.folding import FoldedConv


@dataclass(frozen=True)
class ExactLayer:
    """A layer of the frozen network.

    module: The called module. geometry: Its convolution or linear layer. weight: (C, D) of the dense network.
    factor: (C,), factor of BatchNorm on the weight. bias: (C,), sum of all constants in the output.
    """

    module: nn.Module
    geometry: nn.Conv2d | nn.Linear
    weight: Tensor
    factor: Tensor
    bias: Tensor


def check_layers(model: nn.Module) -> None:
    """Raise where hooks cannot see the whole effect of a layer's weight.

    Raises:
        ArchitectureError: Names the module.
    """
    for name, module in model.named_modules():
        if module._forward_hooks or module._forward_pre_hooks:
            raise ArchitectureError(
                f"{name or 'the network'}: expected no forward hooks, which may change a layer's output; remove them."
            )
        for stock in (nn.Conv2d, nn.Linear):
            if isinstance(module, stock) and type(module).forward is not stock.forward:
                raise ArchitectureError(
                    f"{name}: expected the forward pass of {stock.__name__}, got one of its own in "
                    f"{type(module).__name__}; take estimator hutchinson."
                )


def exact_layer(module: Layer) -> ExactLayer:
    """Return a layer of a frozen network."""
    if isinstance(module, FoldedConv):
        factor = module.gamma / torch.sqrt(module.variance + module.eps)
        return ExactLayer(module, module.conv, module.conv.weight.flatten(1), factor.double(), module.folded()[1])
    weight = module.weight.flatten(1)
    bias = module.bias if module.bias is not None else torch.zeros_like(weight[:, 0])
    return ExactLayer(module, module, weight, torch.ones_like(weight[:, 0]).double(), bias)
