"""Calibrate a simulated network: activation ranges from images alone (post-training quantization)."""

from collections.abc import Iterable

import torch
from torch import Tensor

from ehap.data import DatasetInfo, normalise
from ehap.errors import DataError
from ehap.quantization.simulation import SimulatedNetwork

BATCH = 64


@torch.no_grad()
def calibrate_on_batches_(network: SimulatedNetwork, batches: Iterable[Tensor]) -> None:
    """Set each activation range to the mean of the ranges of batches, in place. Leave the network in train mode.

    Args:
        network: The simulated network.
        batches: Normalised images (N, C, H, W) each, on its device; each batch has the same share.
    """
    network.eval()
    network.observe(True)
    observers = [item.activation_post_process for item in network.activation_quantizers()]
    usual = [observer.averaging_constant for observer in observers]
    for observer in observers:
        observer.averaging_constant = 0.0  # each batch has the same share
        observer.restart()
    try:
        for part in batches:
            network(part)
    finally:
        for observer, constant in zip(observers, usual, strict=True):
            observer.averaging_constant = constant
            observer.settle()
        network.train()


def calibrate_(network: SimulatedNetwork, images: Tensor, info: DatasetInfo, count: int, seed: int) -> None:
    """Calibrate on some raw images of a dataset, in batches of 64, see ``calibrate_on_batches_``.

    Args:
        network: The simulated network, on the device of the images.
        images: (N, 3, H, W) uint8. Those used are drawn without replacement and not augmented.
        info: The dataset's normalisation.
        count: Number of images to use.
        seed: Seed of the draw.

    Raises:
        DataError: There are fewer images, or they have another type or shape.
    """
    if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != len(info.mean):  # noqa: PLR2004
        raise DataError(
            f"expected images (N, {len(info.mean)}, H, W) in uint8, not normalised yet, got "
            f"{tuple(images.shape)} of {images.dtype}."
        )
    if count < 1:
        raise DataError(f"expected at least one image to calibrate by, got {count}.")
    if count > len(images):
        raise DataError(f"qat.calibration_images: expected at most the {len(images)} training images, got {count}.")
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:count].to(images.device)
    calibrate_on_batches_(network, (normalise(part, info) for part in images[chosen].split(BATCH)))
