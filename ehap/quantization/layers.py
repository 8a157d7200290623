"""The layers that a forward pass calls."""

from torch import Tensor, nn

from ehap.graph.folding import FoldedConv
from ehap.graph.tracing import traced


def called_layers(model: nn.Module) -> list[str]:
    """Return the module paths of convolutions and linear layers in forward order, once a call.

    Raises:
        ArchitectureError: The network cannot be read off.
    """
    modules = dict(model.named_modules())
    paths = [str(node.target) for node in traced(model).graph.nodes if node.op == "call_module"]
    return [path for path in paths if isinstance(modules.get(path), (nn.Conv2d, nn.Linear, FoldedConv))]


def layer_weight(model: nn.Module, name: str) -> Tensor:
    """Return the weight (C_out, ...) of the convolution or linear layer called ``name``."""
    weight = model.get_submodule(name).weight
    assert isinstance(weight, Tensor)
    return weight
