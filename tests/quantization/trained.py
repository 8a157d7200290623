"""Networks after a few real steps of quantization-aware training."""

import copy
from typing import Literal

import torch
from torch import Tensor, nn

from ehap.graph.channels import channel_graph
from ehap.pruning import prune
from ehap.quantization import SimulatedNetwork, prepare_qat
from ehap.settings import Scheme
from tests.quantization.images import SHAPE

Batch = tuple[Tensor, Tensor]
Norms = Literal["frozen", "live"]


def scheme(bits: int = 8, norms: Norms = "frozen") -> Scheme:
    return Scheme(bits=bits, norms=norms)


def trained(model: nn.Module, images: Tensor, bits: int = 8, norms: Norms = "frozen") -> SimulatedNetwork:
    """Return a simulated network whose ranges and weights have moved."""
    network = prepare_qat(model, scheme(bits, norms), SHAPE)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        network(images).square().mean().backward()
        optimizer.step()
    return network.eval()


def observed(model: nn.Module, images: Tensor, bits: int = 8) -> SimulatedNetwork:
    """Return a simulated network that has seen images once, in train mode."""
    network = prepare_qat(model, scheme(bits), SHAPE)
    network(images)
    return network


def thinned(model: nn.Module) -> nn.Module:
    """Return a copy of the tiny network without some channels."""
    kept = {name: list(range(width)) for name, width in channel_graph(model).widths().items()}
    kept |= {"conv1": [0, 2], "block1.conv2": [1, 2], "block2.conv2": [0], "block2.downsample.0": [3, 4]}
    return prune(copy.deepcopy(model), kept)
