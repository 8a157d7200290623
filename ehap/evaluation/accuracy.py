"""Accuracy of a network."""

import torch
from torch import nn

from ehap.data import DatasetInfo, Split, plain_batches


@torch.no_grad()
def accuracy(model: nn.Module, test: Split, info: DatasetInfo) -> float:
    """Return the percentage of images with the largest logit at their label; leave the model in eval mode.

    Args:
        model: On the device of the images.
        test: Images (N, 3, H, W) uint8 and labels (N,) int64.
        info: The dataset's normalisation.
    """
    model.eval()
    images, labels = test
    correct = torch.zeros((), device=images.device)
    for inputs, targets in plain_batches(images, labels, info):
        correct += (model(inputs).argmax(1) == targets).sum()
    return 100 * correct.item() / len(images)
