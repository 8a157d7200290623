"""New BatchNorm statistics for a network with changed weights."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from ehap.data import DatasetInfo, augment, draw_augmentation, normalise

RECALIBRATION_IMAGES = 2048  # in every comparison of networks
BATCH = 500


def recalibrate_(model: nn.Module, images: Tensor, info: DatasetInfo, count: int, seed: int) -> None:
    """Give every BatchNorm the statistics of ``count`` images, in place; the mode stays.

    The images are cropped and mirrored as in training, since the weights were trained with such statistics. With plain
    images a trained resnet20 on CIFAR-10 loses 1.8 points, a pruned one 3.8.

    Args:
        model: On the device of the images.
        images: (N, 3, H, W) uint8; drawn without replacement.
        info: The dataset's normalisation and whether to mirror.
        count: Most images. Batches have equal sizes, to one image, since BatchNorm's update gives each the same weight.
        seed: Seed of the draw, the crops and the mirroring.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = images[torch.randperm(len(images), generator=generator)[:count].to(images.device)]
    offsets, mirrored = draw_augmentation(chosen, generator, info.flip)
    offsets, mirrored = offsets.to(images.device), None if mirrored is None else mirrored.to(images.device)

    def batches() -> Iterator[Tensor]:
        for part in torch.arange(len(chosen), device=images.device).tensor_split(-(-len(chosen) // BATCH)):
            which = None if mirrored is None else mirrored[part]
            yield normalise(augment(chosen[part], offsets[:, part], which), info)

    update_bn(batches(), model)
