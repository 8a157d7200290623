"""Store packed integers in the tensors of a file: one byte a weight at 8 bits, half a byte at 4.

The file has five tensors. With three tensors a layer, the header would be a fifth of a small network's weights.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ehap.errors import CheckpointError
from ehap.quantization.layers import called_layers, layer_weight
from ehap.quantization.packing import Packed
from ehap.settings.scheme import HALF_BYTE

OFFSET = 8
"""Added to an integer in half a byte, which is then not negative."""


def to_tensors(packed: Packed, bits: Mapping[str, int]) -> dict[str, Tensor]:
    """Return packed integers as the tensors of a file.

    Args:
        packed: Result of ``pack``.
        bits: Layer name to bits of its weights.

    Returns:
        ``weights`` uint8 of all layers in order, each starting at a new byte; ``weight_scale`` float32 and ``bias``
        int32 of all channels; ``activations.scale`` and ``activations.zero_point`` unchanged.
    """
    layers = [name.removesuffix(".weight") for name in packed if name.endswith(".weight")]
    weights = [packed[f"{name}.weight"] for name in layers]
    parts = [pack_int4(each) if bits[name] <= HALF_BYTE else each for name, each in zip(layers, weights, strict=True)]
    return {
        "weights": torch.cat([part.flatten().view(torch.uint8) for part in parts]),
        "weight_scale": torch.cat([packed[f"{name}.weight_scale"] for name in layers]),
        "bias": torch.cat([packed[f"{name}.bias"] for name in layers]),
        **{name: tensor for name, tensor in packed.items() if name.startswith("activations.")},
    }


def from_tensors(tensors: Mapping[str, Tensor], model: nn.Module, bits: Mapping[str, int]) -> Packed:
    """Return the packed integers that ``to_tensors`` was given.

    Args:
        tensors: Tensors of a file, by name.
        model: A network of the packed one's architecture.
        bits: Layer name to bits of its weights.

    Raises:
        CheckpointError: A tensor is missing or has another length: the file belongs to another network.
    """
    shapes = {name: layer_weight(model, name).shape for name in called_layers(model)}
    if bits.keys() != shapes.keys():
        raise CheckpointError(f"the quantized file belongs to another network: it has layers {sorted(bits)}.")
    halves = {name: bits[name] <= HALF_BYTE for name in shapes}
    lengths = [(shape.numel() + halves[name]) // (1 + halves[name]) for name, shape in shapes.items()]
    rows = [shape[0] for shape in shapes.values()]
    packed = {name: tensor for name, tensor in tensors.items() if name.startswith("activations.")}
    weights = _split(tensors, "weights", lengths)
    scales, biases = (_split(tensors, name, rows) for name in ("weight_scale", "bias"))
    for (name, shape), part, scale, bias in zip(shapes.items(), weights, scales, biases, strict=True):
        integers = unpack_int4(part, shape) if halves[name] else part.view(torch.int8).view(shape)
        packed |= {f"{name}.weight": integers, f"{name}.weight_scale": scale, f"{name}.bias": bias}
    return packed


def pack_int4(integers: Tensor) -> Tensor:
    """Return integers from -8 to 7 as bytes (⌈n/2⌉,), two each: q + 8, the first of a pair in the low four bits."""
    shifted = (integers.flatten() + OFFSET).to(torch.uint8)
    pairs = nn.functional.pad(shifted, (0, len(shifted) % 2)).view(-1, 2)
    return pairs[:, 0] | pairs[:, 1] << HALF_BYTE


def unpack_int4(pairs: Tensor, shape: torch.Size) -> Tensor:
    """Return the int8 integers of ``shape`` that ``pack_int4`` stored in bytes."""
    integers = torch.stack([pairs & (2**HALF_BYTE - 1), pairs >> HALF_BYTE], 1).flatten()[: math.prod(shape)]
    return (integers.to(torch.int8) - OFFSET).view(shape)


def _split(tensors: Mapping[str, Tensor], name: str, lengths: list[int]) -> tuple[Tensor, ...]:
    found = len(tensors[name]) if name in tensors else "none"
    if found != sum(lengths):
        raise CheckpointError(
            f"the quantized file belongs to another network: expected {name} of length {sum(lengths)}, got {found}."
        )
    return torch.split(tensors[name], lengths)
