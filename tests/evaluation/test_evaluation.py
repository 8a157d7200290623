import torch
from torch import nn

from ehap.data import DATASETS
from ehap.evaluation import accuracy, flops, parameters


def test_flops_are_two_a_multiply_add() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 5))
    assert flops(model, (3, 8, 8)) == 2 * (4 * 3 * 9 * 9 + 36 * 5)
    assert parameters(model) == 4 * 27 + 4 + 8 + 36 * 5 + 5


def test_accuracy_counts_largest_logits_over_all_batches() -> None:
    class FirstPixel(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([-x[:, 0, 0, 0], x[:, 0, 0, 0]], 1)

    images = torch.zeros(1203, 3, 4, 4, dtype=torch.uint8)
    images[:600, 0, 0, 0] = 255
    labels = torch.ones(1203, dtype=torch.int64)
    assert accuracy(FirstPixel(), (images, labels), DATASETS["digits"]) == 100 * 600 / 1203
