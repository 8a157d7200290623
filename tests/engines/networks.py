"""A pruned network whose residual branches carry different channels, as integers and as an ONNX file."""

from torch import nn

from ehap.engines.deployable import deployable
from ehap.engines.onnxruntime import to_onnx
from ehap.graph.channels import channel_graph
from ehap.pruning import prune
from ehap.quantization import Packed
from tests.quantization.images import SETTINGS, SHAPE, packed_on_images


def kept(model: nn.Module) -> dict[str, list[int]]:
    """Return a plan whose residual branches carry different channels."""
    every = {name: list(range(width)) for name, width in channel_graph(model).widths().items()}
    return every | {"conv1": [0, 1, 3], "block1.conv1": [1, 2], "block1.conv2": [1, 2], "block2.conv2": [0, 2, 3, 5]}


def pruned_and_packed(model: nn.Module) -> tuple[nn.Module, Packed]:
    """Return the network that this plan leaves, and its integers."""
    small = prune(model, kept(model)).eval()
    return small, packed_on_images(small)


def deployed(model: nn.Module, packed: Packed, round_to: int) -> bytes:
    """Return the integers of the pruned network as an ONNX file."""
    return to_onnx(deployable(packed, prune(model, kept(model)), SETTINGS, SHAPE, round_to=round_to), SHAPE)
