"""Turn fake quantization into operators that engines know."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from ehap.errors import ArchitectureError
from ehap.quantization.pt2e import convert_pt2e
from ehap.quantization.simulation import SimulatedNetwork


def converted(network: SimulatedNetwork) -> nn.Module:
    """Return a simulated network whose operators quantize and dequantize, for an engine. It is used up.

    Raises:
        ArchitectureError: Activations have fewer than 8 bits; an engine would not clamp them.
    """
    for quantizer in network.activation_quantizers():
        highest, bits = quantizer.quant_max, (quantizer.quant_max + 1).bit_length() - 1
        if highest != torch.iinfo(torch.uint8).max:
            raise ArchitectureError(
                f"activations have {bits} bits, but engines take 8: they would not clamp values to {bits} bits. "
                "Quantize with activation_bits 8; weights may have fewer bits."
            )
    for quantizer in network.quantizers():  # the packed scales count, not observed ranges
        quantizer.calculate_qparams = _fixed(quantizer.scale, quantizer.zero_point)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph: nn.Module = convert_pt2e(network.graph_module)
    return graph


def _fixed(scale: Tensor, zero_point: Tensor) -> Any:
    return lambda: (scale, zero_point)
