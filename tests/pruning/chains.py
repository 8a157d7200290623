"""A chain of three layers and scores for them, for examples worked by hand."""

import torch
from torch import Tensor, nn

SMALL = (1, 8, 8)


def three_layers() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)
    )


def scores_of_three(first: list[float], second: list[float], last: list[float]) -> dict[str, Tensor]:
    names = ("0", "2", "5")
    return {name: torch.tensor(values) for name, values in zip(names, (first, second, last), strict=True)}
