"""INT8: quantization-aware training and packed integer weights."""

import logging

# Importing torchao 0.18 makes torch 2.15 warn about an enum that torchao registers: nothing a user could mend.
logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)

from ehap.quantization.calibration import calibrate_  # noqa: E402
from ehap.quantization.packing import Packed, pack, unpack  # noqa: E402
from ehap.quantization.simulated import SimulatedNetwork, simulate  # noqa: E402

__all__ = ["Packed", "SimulatedNetwork", "calibrate_", "pack", "simulate", "unpack"]
