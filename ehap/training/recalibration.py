"""BatchNorm statistics of the network that is, rather than of the one that it was."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from ehap.data import DatasetInfo, augment, draw_augmentation, normalise

RECALIBRATION_IMAGES = 2048  # wherever networks are compared
BATCH = 500


def recalibrate_(model: nn.Module, images: Tensor, info: DatasetInfo, count: int, seed: int) -> None:
    """Give every BatchNorm the statistics of ``count`` images, in place; the mode stays.

    The images are cropped and mirrored as in training: those are the statistics that the weights were trained with.
    On plain images a trained resnet20 on CIFAR-10 came out 1.8 points lower, a pruned one 3.8.

    Args:
        model: On the device of the images.
        images: (N, 3, H, W) uint8; those used are drawn without replacement.
        info: The dataset's normalisation and whether to mirror.
        count: At most so many images, in batches of equal size, to one image: BatchNorm's update counts batches alike.
        seed: Of the draw, the crops and the mirroring.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = images[torch.randperm(len(images), generator=generator)[:count].to(images.device)]
    offsets, mirrored = draw_augmentation(len(chosen), generator, info.flip)
    offsets, mirrored = offsets.to(images.device), None if mirrored is None else mirrored.to(images.device)

    def batches() -> Iterator[Tensor]:
        for part in torch.arange(len(chosen), device=images.device).tensor_split(-(-len(chosen) // BATCH)):
            which = None if mirrored is None else mirrored[part]
            yield normalise(augment(chosen[part], offsets[:, part], which), info)

    update_bn(batches(), model)
