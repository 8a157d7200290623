"""Integers: quantization-aware training, bits for each layer, and packed weights."""

import logging

# Importing torchao 0.18 makes torch 2.15 warn about an enum that torchao registers: nothing a user could mend.
logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)

from ehap.quantization.calibration import calibrate_  # noqa: E402
from ehap.quantization.mixed import choose_bits, layer_costs  # noqa: E402
from ehap.quantization.noise import pack_on_noise  # noqa: E402
from ehap.quantization.packed_file import from_tensors, to_tensors  # noqa: E402
from ehap.quantization.packing import Packed, pack, unpack  # noqa: E402
from ehap.quantization.simulation import SimulatedNetwork, called_layers, layer_weight, prepare_qat  # noqa: E402

__all__ = [
    "Packed",
    "SimulatedNetwork",
    "calibrate_",
    "called_layers",
    "choose_bits",
    "from_tensors",
    "layer_costs",
    "layer_weight",
    "pack",
    "pack_on_noise",
    "prepare_qat",
    "to_tensors",
    "unpack",
]
