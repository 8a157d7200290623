"""Quantization: simulated training, bits for each layer, and packed integer weights."""

from ehap.quantization.calibration import calibrate_, calibrate_on_batches_
from ehap.quantization.layers import called_layers, layer_weight
from ehap.quantization.mixed import choose_bits, layer_costs, mixed_bits
from ehap.quantization.noise import pack_on_noise
from ehap.quantization.packed_file import from_tensors, to_tensors
from ehap.quantization.packing import Packed, pack, unpack
from ehap.quantization.preparation import prepare_qat
from ehap.quantization.simulation import SimulatedNetwork

__all__ = [
    "Packed",
    "SimulatedNetwork",
    "calibrate_",
    "calibrate_on_batches_",
    "called_layers",
    "choose_bits",
    "from_tensors",
    "layer_costs",
    "layer_weight",
    "mixed_bits",
    "pack",
    "pack_on_noise",
    "prepare_qat",
    "to_tensors",
    "unpack",
]
