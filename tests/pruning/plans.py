"""Plans for tests, and how far a pruned network is from the masked one."""

import copy

import torch
from torch import nn

from ehap.graph.channels import channel_graph
from ehap.pruning import mask_, prune

Kept = dict[str, list[int]]


def random_plan(model: nn.Module, seed: int, few: bool = False) -> Kept:
    """Any channels of every layer, at least one; ``few`` keeps exactly one, so that branches are disjoint."""
    generator = torch.Generator().manual_seed(seed)
    graph = channel_graph(model)
    kept = {}
    for layer, width in graph.widths().items():
        count = 1 if few else int(torch.randint(1, width + 1, (), generator=generator))
        chosen = torch.randperm(width, generator=generator)[: width if layer in graph.unpruned() else count]
        kept[layer] = sorted(chosen.tolist())
    return kept


def difference(model: nn.Module, kept: Kept, images: torch.Tensor) -> float:
    masked = copy.deepcopy(model)
    mask_(masked, kept)
    smaller = prune(model, kept)
    reference = masked(images)
    return ((smaller(images) - reference).abs().max() / reference.abs().max()).item()


def sees_images(model: nn.Module, kept: Kept, images: torch.Tensor) -> bool:
    """Return whether the answers of the masked network depend on the images, as they do where channels are alive."""
    masked = copy.deepcopy(model)
    mask_(masked, kept)
    answers = masked(images)
    return bool((answers[0] - answers[1]).abs().max() > 1e-3 * answers.abs().max())
