"""Size of a pruned network by arithmetic on kept channels; no network is built."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.fx.passes.shape_prop import ShapeProp

from ehap.errors import ArchitectureError, PlanError
from ehap.graph import evaluating
from ehap.graph.channels import LAYERS, SUMS, ChannelGraph, Kept
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
        return self.of_widths(self._widths(kept))

    def of_widths(self, widths: Mapping[str, int]) -> Size:
        """Return the size when the result of each step, by name, has so many channels; also more than it has now."""
        sizes = self._by_module(widths).values()
        return Size(sum(each.parameters for each in sizes), sum(each.flops for each in sizes))

    def _widths(self, kept: Kept) -> dict[str, int]:
        return {name: len(channels) for name, channels in self._graph.carried(kept).items()}

    def _by_module(self, widths: Mapping[str, int]) -> dict[str, Size]:
        """Return the size of each convolution, linear layer and BatchNorm."""
        found = {}
        for step in self._graph.steps:
            module = self._modules.get(step.module)
            if isinstance(module, nn.BatchNorm2d):
                found[step.module] = Size(2 * widths[step.name], 0)
            elif isinstance(module, (nn.Conv2d, nn.Linear)):
                rows, per_row = widths[step.name], module.weight[0].numel()
                if (
                    step.kind != "depthwise" and step.name not in self._graph.grouped
                ):  # rows of these read what they did
                    source = step.sources[0]
                    per_row = per_row * widths[source] // self._graph.dense[source]
                parameters = rows * (per_row + (module.bias is not None))
                found[step.module] = Size(parameters, 2 * rows * per_row * self.places[step.module])
        return found

    def by_layer(self, kept: Kept) -> dict[str, Size]:
        """Return the size of each convolution and linear layer under ``kept``, with the BatchNorms behind it."""
        found = self._by_module(self._widths(kept))
        layers = {step.name: step.module for step in self._graph.steps if step.kind in LAYERS}
        sizes = {module: found[module] for module in layers.values()}
        for step in self._graph.steps:
            if step.kind == "norm":
                layers[step.name] = owner = layers.get(step.sources[0], step.module)
                before = sizes.get(owner, Size(0, 0))
                sizes[owner] = Size(before.parameters + found[step.module].parameters, before.flops)
        return sizes


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
        maps = {(shapes[source][0], *shapes[source][2:]) for source in step.sources}
        if step.kind in SUMS and len(maps) != 1:  # equal widths are known from the graph
            raise ArchitectureError(
                f"{step.name}: expected an add of equal shapes, got {[tuple(shapes[s][1:]) for s in step.sources]}."
            )
    layers = [step for step in graph.steps if step.kind in LAYERS]
    return {step.module: shapes[step.name].numel() // graph.dense[step.name] for step in layers}
