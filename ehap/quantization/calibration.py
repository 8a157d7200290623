"""Activation ranges of a simulated network from images alone: post-training quantization."""

import torch
from torch import Tensor

from ehap.data import DatasetInfo, normalise
from ehap.errors import DataError
from ehap.quantization.simulated import SimulatedNetwork

BATCH = 64


@torch.no_grad()
def calibrate_(network: SimulatedNetwork, images: Tensor, info: DatasetInfo, count: int, seed: int) -> None:
    """Let the activation ranges see ``count`` images, in place; weights stay, the network is left in train mode.

    Args:
        network: On the device of the images.
        images: (N, 3, H, W) uint8; those used are drawn without replacement, un-augmented.
        info: The dataset's normalisation.
        count: Of the images.
        seed: Of the draw.

    Raises:
        DataError: There are fewer images.
    """
    if count > len(images):
        raise DataError(f"qat.calibration_images: expected at most the {len(images)} training images, got {count}.")
    network.train()
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:count].to(images.device)
    for part in images[chosen].split(BATCH):
        network(normalise(part, info))
