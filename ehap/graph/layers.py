"""The layers of a network, by module path."""

from torch import Tensor, nn


def layer_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return module path to weight (C_out, ...) of every convolution and linear layer, in the order of the modules.

    The order decides random draws. ``ChannelGraph.widths`` names the layers that the forward pass uses and whose
    channels can be kept one by one; ``called_layers`` of ``ehap.quantization`` names the calls.
    """
    kinds = (nn.Conv2d, nn.Linear)
    return {name: module.weight for name, module in network.named_modules() if isinstance(module, kinds)}
