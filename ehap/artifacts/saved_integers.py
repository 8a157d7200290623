"""Quantized networks of users in files: packed integers and their scheme."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor, nn

from ehap.graph.tracing import copied
from ehap.quantization.layers import called_layers
from ehap.quantization.packed_file import from_tensors, to_tensors
from ehap.quantization.packing import pack, unpack
from ehap.quantization.simulation import SimulatedNetwork
from ehap.settings.scheme import Scheme


def integers_of(network: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any], nn.Module]:
    """Return the tensors of a quantized network's file, the metadata, and the network in floating point."""
    quiet = copied(network).cpu()
    assert isinstance(quiet, SimulatedNetwork)
    origin = quiet.origin
    bits = origin.layer_bits or dict.fromkeys(called_layers(origin.network), origin.scheme.bits)
    metadata = {
        "scheme": {
            name: list(each) if isinstance(each, tuple) else each for name, each in asdict(origin.scheme).items()
        },
        "layer_bits": bits,
        "input_shape": list(origin.input_shape),
    }
    return to_tensors(pack(quiet, origin.network), bits), metadata, origin.network


def from_integers(
    network: nn.Module, tensors: Mapping[str, Tensor], scheme: Scheme, metadata: Mapping[str, Any]
) -> SimulatedNetwork:
    """Return the quantized network of such tensors and metadata; ``network`` has its architecture."""
    bits: dict[str, int] = metadata["layer_bits"]
    channels, rows, columns = metadata["input_shape"]
    return unpack(from_tensors(tensors, network, bits), network, scheme, (channels, rows, columns), bits)
