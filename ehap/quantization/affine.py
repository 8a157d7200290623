"""Uniform quantization as pure functions (Eq. 9 and 10 of the paper), in torch's sign of the zero point.

The paper writes Q(r) = round(r/S) - Z and r ≈ S·(Q + Z); torch and ONNX write round(r/S) + z with z = -Z.
"""

import torch
from torch import Tensor


def quantize(values: Tensor, scale: Tensor, zero_point: Tensor | int, low: int, high: int) -> Tensor:
    """Return round(r / S) + z, clamped to low … high, as int64 of the shape of ``values`` (Eq. 9).

    Args:
        values: Any shape.
        scale: Positive, broadcast against the values.
        zero_point: The integer that stands for 0.
        low: Smallest integer of the grid.
        high: Largest integer of the grid.
    """
    return (torch.round(values / scale) + zero_point).clamp(low, high).long()


def dequantize(integers: Tensor, scale: Tensor, zero_point: Tensor | int = 0) -> Tensor:
    """Return the value S·(q - z) of a quantized number, in float32 (Eq. 10)."""
    return scale * (integers - zero_point).float()
