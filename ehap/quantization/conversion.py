"""A simulated network with the operators that engines know."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

from ehap.errors import ArchitectureError
from ehap.quantization.simulated import SimulatedNetwork

SPREAD = 8  # images


def converted(network: SimulatedNetwork) -> nn.Module:
    """Return a simulated network with operators that quantize and dequantize, for an engine; it is used up.

    Raises:
        ArchitectureError: Its activations have fewer bits than their type: an engine would not clamp them.
    """
    for quantizer in network.activation_quantizers():
        highest, bits = quantizer.quant_max, (quantizer.quant_max + 1).bit_length() - 1
        if highest != torch.iinfo(torch.uint8).max:
            raise ArchitectureError(
                f"activations have {bits} bits, but engines take 8: they would let values pass that {bits} bits clamp. "
                "Quantize with activation_bits 8; weights may have fewer bits."
            )
    for quantizer in network.quantizers():  # the packed scales count, not the ranges of some calibration
        quantizer.calculate_qparams = _fixed(quantizer.scale, quantizer.zero_point)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph: nn.Module = convert_pt2e(network.graph_module)
    return graph


def spread_images(network: SimulatedNetwork, input_shape: tuple[int, int, int], count: int = SPREAD) -> Tensor:
    """Return random images (count, C, H, W) to show that an engine computes what a network does; always the same.

    Noise about another mean in each channel and image, so that outputs differ although they are means over positions,
    to the ends of the network's input range and beyond.
    """
    generator = torch.Generator().manual_seed(0)
    means, noise = (
        torch.randn(count, input_shape[0], 1, 1, generator=generator),
        torch.randn(count, *input_shape, generator=generator),
    )
    first = network.activation_quantizers()[0]
    largest: Tensor = first.scale.detach().cpu() * (first.quant_max // 2)
    return largest / 2 * (means + noise) / 2**0.5


def _fixed(scale: Tensor, zero_point: Tensor) -> Any:
    return lambda: (scale, zero_point)
