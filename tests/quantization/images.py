"""Small images for networks that need no real ones."""

import torch
from torch import Tensor

from ehap.data import DATASETS

SHAPE = (3, 8, 8)
INFO = DATASETS["digits"]


def random_images(count: int) -> Tensor:
    """Return (count, 3, 8, 8) uint8, the same ones for every call of one count."""
    return torch.randint(256, (count, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
