"""Integers: quantization-aware training, bits for each layer, and packed weights."""

import logging

# Importing torchao 0.18 makes torch 2.15 warn about an enum that torchao registers: nothing a user could mend.
logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)

from ehap.quantization.calibration import calibrate_  # noqa: E402
from ehap.quantization.mixed import choose_bits, layer_costs  # noqa: E402
from ehap.quantization.noise import pack_on_noise  # noqa: E402
from ehap.quantization.packed_file import joined, separated  # noqa: E402
from ehap.quantization.packing import Packed, pack, unpack  # noqa: E402
from ehap.quantization.simulated import SimulatedNetwork, layer_names, layer_weight, simulate  # noqa: E402

__all__ = [
    "Packed",
    "SimulatedNetwork",
    "calibrate_",
    "choose_bits",
    "joined",
    "layer_costs",
    "layer_names",
    "layer_weight",
    "pack",
    "pack_on_noise",
    "separated",
    "simulate",
    "unpack",
]
