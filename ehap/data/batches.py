"""Batches: crop, flip and normalise on whole tensors, without worker processes."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from ehap.data.datasets import DatasetInfo, ImageInfo, Normalised

OF_SIDE = 8


@dataclass(frozen=True)
class EpochDraws:
    """All random draws of an epoch. They are drawn at once, so that a batch needs no transfer between devices.

    order: (N,) int64, the order of the images. offsets: (2, N) int64, each image's crop, in pixels down and
    across. mirrored: (N,) bool; None where images are never mirrored.
    """

    order: Tensor
    offsets: Tensor
    mirrored: Tensor | None

    def to(self, device: torch.device) -> "EpochDraws":
        """Return the same draws on a device."""
        mirrored = None if self.mirrored is None else self.mirrored.to(device)
        return EpochDraws(self.order.to(device), self.offsets.to(device), mirrored)


def draw_epoch(images: Tensor, generator: torch.Generator, flip: bool, crop: bool = True) -> EpochDraws:
    """Draw an epoch's order, crops and flips.

    Args:
        images: (N, C, H, W).
        generator: Generator on the CPU, so that draws do not depend on the device of the images.
        flip: Whether a mirrored image is still an image of its class.
        crop: Whether images are cropped at random places; otherwise they stay where they are.
    """
    order = torch.randperm(len(images), generator=generator)
    offsets, mirrored = draw_augmentation(images, generator, flip)
    return EpochDraws(order, offsets if crop else torch.full_like(offsets, padding_around(images)), mirrored)


def padding_around(images: Tensor) -> int:
    """Return the pixels around an image before it is cropped: an eighth of its shorter side, 4 where that is 32."""
    return max(1, min(images.shape[-2:]) // OF_SIDE)


def draw_augmentation(images: Tensor, generator: torch.Generator, flip: bool) -> tuple[Tensor, Tensor | None]:
    """Return crop offsets (2, N), and a mask (N,) of mirrored images: half of them if ``flip``, else None.

    Offsets are drawn from 0 to twice ``padding_around(images)``.
    """
    count = len(images)
    offsets = torch.randint(2 * padding_around(images) + 1, (2, count), generator=generator)
    return offsets, torch.randint(2, (count,), generator=generator).bool() if flip else None


def normalise(images: Tensor, info: ImageInfo) -> Tensor:
    """Map uint8 images (N, 3, H, W) to float32 with the dataset's mean at 0 and its standard deviation at 1.

    Of images that are normalised already, as ``info`` says, it returns a copy.
    """
    if isinstance(info, Normalised):
        return images.clone()
    factor, shift = _affine(info, images.device)
    return torch.addcmul(shift, images.float(), factor)


@lru_cache
def _affine(info: DatasetInfo, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return factor and shift, (1, 3, 1, 1) each, that normalise a pixel of 0 to 255."""
    mean, std = (torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1) for values in (info.mean, info.std))
    return (1 / (255 * std)).float().to(device), (-mean / std).float().to(device)


@lru_cache
def _padding(info: ImageInfo, device: torch.device) -> Tensor | None:
    """Return the values (1, C, 1, 1) around images that are normalised already; None for pixels: zeros."""
    if isinstance(info, DatasetInfo):
        return None
    return torch.tensor(info.padding, dtype=torch.float64).view(1, -1, 1, 1).to(device)


def augment(images: Tensor, offsets: Tensor, mirrored: Tensor | None, padding: Tensor | None = None) -> Tensor:
    """Pad each image with an eighth of its side in black, crop it at its own offset, and mirror some.

    Draws of ``draw_augmentation`` have the distribution of torchvision's RandomCrop(H, padding=H // 8) and
    RandomHorizontalFlip.

    Args:
        images: (N, C, H, W), of any type.
        offsets: (2, N) down and across, on the device of the images.
        mirrored: (N,) bool; None mirrors none.
        padding: (1, C, 1, 1), the values of black; zeros where left out.

    Returns:
        (N, C, H, W), of the type of the images.
    """
    count, height, width = images.shape[0], images.shape[2], images.shape[3]
    around = (padding_around(images),) * 4
    padded = pad(images, around)
    if padding is not None:
        inside = pad(torch.ones_like(images[:1, :1], dtype=torch.bool), around)
        padded = torch.where(inside, padded, padding.to(images.dtype))
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: (N, C, down, across, H, W)
    cropped = windows[torch.arange(count, device=images.device), :, offsets[0], offsets[1]]
    return cropped if mirrored is None else torch.where(mirrored.view(-1, 1, 1, 1), cropped.flip(3), cropped)


def training_batches(
    images: Tensor, labels: Tensor, info: ImageInfo, batch_size: int, draws: EpochDraws, done: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield an epoch's augmented, normalised batches; the last one may be smaller.

    Args:
        images: (N, 3, H, W) uint8; or (N, C, H, W) in floating point where ``info`` says that they are normalised.
        labels: (N,) int64.
        info: The dataset's normalisation.
        batch_size: Images a batch.
        draws: Random draws of the epoch, on the device of the images.
        done: Number of batches to leave out at the beginning.
    """
    for first in range(done * batch_size, len(draws.order), batch_size):
        part = slice(first, first + batch_size)
        chosen = draws.order[part]
        mirrored = None if draws.mirrored is None else draws.mirrored[part]
        shown = augment(images[chosen], draws.offsets[:, part], mirrored, _padding(info, images.device))
        yield normalise(shown, info), labels[chosen]


def plain_batches(
    images: Tensor, labels: Tensor, info: ImageInfo, batch_size: int = 500
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield normalised batches in order, without augmentation."""
    for part, targets in zip(images.split(batch_size), labels.split(batch_size), strict=True):
        yield normalise(part, info), targets


def hessian_batch(images: Tensor, labels: Tensor, info: DatasetInfo, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return ``size`` un-augmented training images, drawn without replacement by ``seed``, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    indices = torch.randperm(len(images), generator=generator)[:size].to(images.device)
    return normalise(images[indices], info), labels[indices]
