"""Small images for networks that need no real ones, and networks calibrated on them."""

import torch
from torch import Tensor, nn

from ehap.data import DATASETS, normalise
from ehap.quantization import Packed, calibrate_, pack, prepare_qat
from ehap.settings import Scheme

SHAPE = (3, 8, 8)
INFO = DATASETS["digits"]
IMAGES = 64
SETTINGS = Scheme()


def random_images(count: int) -> Tensor:
    """Return (count, 3, 8, 8) uint8, the same for every call of one count."""
    return torch.randint(256, (count, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def random_inputs(count: int) -> Tensor:
    """Return these images, normalised."""
    return normalise(random_images(count), INFO)


def packed_on_images(model: nn.Module, settings: Scheme = SETTINGS) -> Packed:
    """Return a network as integers, calibrated on the random images."""
    simulated = prepare_qat(model, settings, SHAPE)
    calibrate_(simulated, random_images(IMAGES), INFO, IMAGES, seed=0)
    return pack(simulated, model)
