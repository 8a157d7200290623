"""BatchNorm statistics of the network that is, rather than of the one that it was."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from ehap.data import DatasetInfo, plain_batches


def recalibrate_(model: nn.Module, images: Tensor, info: DatasetInfo, count: int, seed: int) -> None:
    """Give every BatchNorm the statistics of ``count`` images, in place; the mode stays.

    Args:
        model: On the device of the images.
        images: (N, 3, H, W) uint8; those used are drawn without replacement, un-augmented.
        info: The dataset's normalisation.
        count: At most so many images, in batches of equal weight.
        seed: Of the draw.
    """
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:count].to(images.device)
    labels = torch.zeros(len(chosen), dtype=torch.int64, device=images.device)
    update_bn((inputs for inputs, _ in plain_batches(images[chosen], labels, info)), model)
