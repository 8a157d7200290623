"""Size of a pruned network by arithmetic on kept channels; no network is built."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.fx.passes.shape_prop import ShapeProp

from ehap.errors import ArchitectureError, PlanError
from ehap.graph import evaluating
from ehap.graph.channels import LAYERS, ChannelGraph, Kept
from ehap.graph.forward import trace_forward


@dataclass(frozen=True)
class Size:
    """The parameters and the cost of a network.

    parameters: Weights and biases of convolutions, linear layers and BatchNorms.
    flops: FLOPs of convolutions and linear layers for one image, 2 a multiply-add.
    """

    parameters: int
    flops: int


class Counter:
    """Count parameters and FLOPs that a network has under a plan.

    Args:
        model: The dense network.
        graph: Its channel graph.
        input_shape: (C, H, W) of an image.

    Raises:
        PlanError: The network cannot take images of this shape.
        ArchitectureError: An add stretches one of its inputs over the other.

    Attributes:
        places: Layer name to the positions of its output map.
    """

    def __init__(self, model: nn.Module, graph: ChannelGraph, input_shape: tuple[int, int, int]) -> None:
        self._graph = graph
        self._modules = {step.module: model.get_submodule(step.module) for step in graph.steps if step.module}
        self.places = output_places(model, graph, input_shape)

    def __call__(self, kept: Kept) -> Size:
        """Return the size under ``kept``."""
        carried = self._graph.carried(kept)
        parameters = flops = 0
        for step in self._graph.steps:
            module = self._modules.get(step.module)
            if isinstance(module, nn.BatchNorm2d):
                parameters += 2 * len(carried[step.name])
            elif isinstance(module, (nn.Conv2d, nn.Linear)):
                rows, per_row = len(carried[step.name]), module.weight[0].numel()
                if step.kind != "depthwise":  # a row of it reads one channel under any plan
                    source = step.sources[0]
                    per_row = per_row * len(carried[source]) // self._graph.dense[source]
                parameters += rows * (per_row + (module.bias is not None))
                flops += 2 * rows * per_row * self.places[step.module]
        return Size(parameters, flops)


@torch.no_grad()
def output_places(model: nn.Module, graph: ChannelGraph, input_shape: Sequence[int]) -> Mapping[str, int]:
    """Return the number of output positions of each convolution and linear layer.

    Raises:
        PlanError, ArchitectureError: As Counter.
    """
    if not isinstance(input_shape, Sequence) or len(input_shape) != 3:  # noqa: PLR2004 (channels, rows, columns)
        raise PlanError(f"expected the shape (C, H, W) of an image, got {input_shape}.")
    parameter = next(model.parameters())
    image = torch.zeros(1, *input_shape, dtype=parameter.dtype, device=parameter.device)
    traced = trace_forward(model)
    try:
        with evaluating(model):
            model(image.clone())
            ShapeProp(traced).propagate(image)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError) as error:
        raise PlanError(
            f"expected the shape (C, H, W) of an image that the network takes, got {tuple(input_shape)} "
            f"({str(error).splitlines()[0][:160]})."
        ) from None
    shapes = {node.name: node.meta["tensor_meta"].shape for node in traced.graph.nodes if node.op != "output"}
    for step in graph.steps:
        if step.kind == "add" and len({shapes[source] for source in step.sources}) != 1:
            raise ArchitectureError(
                f"{step.name}: expected an add of equal shapes, got {[tuple(shapes[s][1:]) for s in step.sources]}."
            )
    layers = [step for step in graph.steps if step.kind in LAYERS]
    return {step.module: shapes[step.name].numel() // graph.dense[step.name] for step in layers}
