"""Quantize a network without images, for measurements of latency."""

import torch
from torch import nn

from ehap.data import DatasetInfo
from ehap.quantization.calibration import calibrate_
from ehap.quantization.packing import Packed, pack
from ehap.quantization.preparation import prepare_qat
from ehap.settings import Scheme

IMAGES = 64


def pack_on_noise(network: nn.Module, input_shape: tuple[int, int, int], info: DatasetInfo) -> tuple[Packed, Scheme]:
    """Return a network as integers, with activation ranges of noise, and the scheme used.

    Use it for latency only: latency does not depend on the integers, but accuracy does.

    Args:
        network: The network, on the CPU, in eval mode.
        input_shape: (C, H, W) of one image.
        info: The dataset's normalisation.
    """
    scheme = Scheme()
    simulated = prepare_qat(network, scheme, input_shape)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(256, (IMAGES, *input_shape), dtype=torch.uint8, generator=generator)
    calibrate_(simulated, noise, info, IMAGES, seed=0)
    return pack(simulated, network), scheme
