"""Batches: whole-array crop, flip and normalisation, with no worker processes."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import pad

from ehap.data.datasets import DatasetInfo

PADDING = 4


def normalise(images: Tensor, info: DatasetInfo) -> Tensor:
    """Map uint8 images (N, 3, H, W) to float32 with the dataset's mean and standard deviation taken out."""
    shape = (1, 3, 1, 1)
    mean = torch.tensor(info.mean, device=images.device).view(shape)
    std = torch.tensor(info.std, device=images.device).view(shape)
    return (images.float() / 255 - mean) / std


def augment(images: Tensor, generator: torch.Generator, flip: bool) -> Tensor:
    """Crop each image at its own offset after 4 pixels of zero padding and, if ``flip``, mirror half of them.

    Args:
        images: (N, 3, H, W) uint8.
        generator: On the CPU; its draws do not depend on the device of the images.
        flip: Whether a mirrored image is still an image of its class.

    Returns:
        (N, 3, H, W) uint8. Same distribution as torchvision's RandomCrop(H, padding=4) and RandomHorizontalFlip.
    """
    count, height, width = images.shape[0], images.shape[2], images.shape[3]
    offsets = torch.randint(2 * PADDING + 1, (2, count), generator=generator).to(images.device)
    padded = pad(images, (PADDING,) * 4)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: (N, 3, 9, 9, H, W)
    cropped = windows[torch.arange(count, device=images.device), :, offsets[0], offsets[1]]
    if not flip:
        return cropped
    mirrored = torch.randint(2, (count,), generator=generator).bool().to(images.device)
    return torch.where(mirrored.view(-1, 1, 1, 1), cropped.flip(3), cropped)


def epoch_order(count: int, generator: torch.Generator) -> Tensor:
    """Return the order in which an epoch meets ``count`` images."""
    return torch.randperm(count, generator=generator)


def training_batches(
    images: Tensor, labels: Tensor, info: DatasetInfo, batch_size: int, generator: torch.Generator, order: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield augmented, normalised batches of the images in ``order``; the last one may be smaller."""
    order = order.to(images.device)
    for first in range(0, len(order), batch_size):
        indices = order[first : first + batch_size]
        yield normalise(augment(images[indices], generator, info.flip), info), labels[indices]


def plain_batches(
    images: Tensor, labels: Tensor, info: DatasetInfo, batch_size: int = 500
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield normalised batches in order, without augmentation."""
    for part, targets in zip(images.split(batch_size), labels.split(batch_size), strict=True):
        yield normalise(part, info), targets


def hessian_batch(images: Tensor, labels: Tensor, info: DatasetInfo, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return ``size`` un-augmented training images, drawn without replacement by ``seed``, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    indices = torch.randperm(len(images), generator=generator)[:size].to(images.device)
    return normalise(images[indices], info), labels[indices]
