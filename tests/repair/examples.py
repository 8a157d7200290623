"""Examples for tests of repair."""

import torch
from torch import Tensor, nn

from ehap.graph.channels import channel_graph


def everything_kept(model: nn.Module) -> dict[str, list[int]]:
    return {name: list(range(width)) for name, width in channel_graph(model).widths().items()}


def random_images(count: int, size: int = 8, channels: int = 3) -> Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def error_of(network: nn.Module, model: nn.Module, images: Tensor) -> float:
    wanted = model(images)
    return ((network(images) - wanted).norm() / wanted.norm()).item()


def plain_ridge(rows: Tensor, wanted: Tensor, trained: Tensor, ridge: float) -> Tensor:
    """Return the ridge solution, (unknowns, outputs), from rows with a column of ones, as the formula says."""
    gram = rows.T @ rows
    pull = torch.full((len(gram),), ridge * gram.diagonal()[:-1].mean().item(), dtype=rows.dtype)
    pull[-1] = 0
    return torch.linalg.solve(gram + torch.diag(pull), rows.T @ wanted + pull[:, None] * trained)
