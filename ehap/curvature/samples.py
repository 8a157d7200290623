"""Inputs and outputs of layers in one pass, gradients at the outputs, and sums of squares of both."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, unfold


@dataclass
class Taps:
    """Inputs and outputs of the layers of one forward pass, by layer name, one for each time that a layer is called.

    The outputs are the very tensors that the rest of the network is computed from, so that gradients can be had.
    """

    inputs: dict[str, list[Tensor]] = field(default_factory=dict)
    outputs: dict[str, list[Tensor]] = field(default_factory=dict)


@contextmanager
def tapped(layers: dict[str, nn.Module]) -> Iterator[Taps]:
    """Collect inputs and outputs of ``layers`` during a forward pass in the block."""
    taps = Taps({name: [] for name in layers}, {name: [] for name in layers})

    def tap(name: str) -> "torch.utils.hooks.RemovableHandle":
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            kept = output if output.requires_grad else output.detach().requires_grad_()
            taps.inputs[name].append(inputs[0].detach())
            taps.outputs[name].append(kept)
            return kept.clone()  # an operation in place behind the layer must not change the kept tensor

        return layers[name].register_forward_hook(hook)

    handles = [tap(name) for name in layers]
    try:
        yield taps
    finally:
        for handle in handles:
            handle.remove()


def output_gradients(logits: Tensor, outputs: Sequence[Tensor], columns: Tensor, keep: bool) -> list[Sequence[Tensor]]:
    """Return, for each output, the gradients of s_kᵀ z there, (N, …) for each of the K columns s.

    Args:
        logits: (N, classes), z.
        outputs: Outputs of layers, from which the logits are computed.
        columns: (K, N, classes), s.
        keep: Whether the graph is kept for more columns.
    """
    if logits.device.type == "cuda":
        batched = torch.autograd.grad(
            logits, outputs, columns, retain_graph=keep, is_grads_batched=True, materialize_grads=True
        )
        return [tuple(each) for each in batched]
    last = len(columns) - 1
    by_column = [
        torch.autograd.grad(logits, outputs, column, retain_graph=keep or index < last, materialize_grads=True)
        for index, column in enumerate(columns)
    ]
    return list(zip(*by_column, strict=True))


def unfolded(layer: nn.Module, inputs: Tensor) -> Tensor:
    """Return the inputs of each output position of a layer: (N, groups, D, P), D weights of a channel, P positions."""
    if isinstance(layer, nn.Linear):
        return inputs.reshape(len(inputs), 1, -1, inputs.shape[-1]).transpose(2, 3)
    assert isinstance(layer, nn.Conv2d)
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = pad(inputs, layer._reversed_padding_repeated_twice, mode)
    patches = unfold(padded, layer.kernel_size, layer.dilation, 0, layer.stride)
    return patches.view(len(inputs), layer.groups, -1, patches.shape[-1])


def by_position(layer: nn.Module, values: Tensor) -> Tensor:
    """Return a layer's output, or gradients there, as (N, C, P): P positions, 1 for a linear layer of vectors.

    Args:
        layer: Linear, Conv2d or a norm.
        values: (N, C, H, W), or (N, ..., C) for a linear layer.
    """
    if isinstance(layer, nn.Linear):
        return values.reshape(len(values), -1, values.shape[-1]).transpose(1, 2)
    return values.flatten(2)


def squared_norms(patches: Tensor, deltas: Tensor) -> Tensor:
    """Return ‖∂/∂w_c‖² of each image, column and channel, from the layer's patches and output gradients.

    ∂/∂w_c = Σ_p δ_c(p) u(p). Where there are fewer positions than weights in a channel, ‖δ_c U‖² is computed
    as δ_c (UᵀU) δ_cᵀ, which never forms the gradients.

    Args:
        patches: (N, groups, D, P), u.
        deltas: (K, N, C, P), δ for K columns.

    Returns:
        (K, N, C) float32, or float64 for float64.
    """
    columns, count, channels, places = deltas.shape
    groups, weights = patches.shape[1], patches.shape[2]
    rows = columns * channels // groups
    delta = deltas.view(columns, count, groups, channels // groups, places).permute(1, 2, 0, 3, 4)
    delta = delta.reshape(count, groups, rows, places)
    if places * places * (weights + rows) < rows * places * weights:
        # FP16 overflows where activations are large
        safe = patches.float() if patches.dtype == torch.float16 else patches
        gram = safe.transpose(2, 3) @ safe
        norms = ((delta.to(safe.dtype) @ gram).to(wide_type(deltas)) * delta).sum(3)
    else:
        norms = (delta @ patches.transpose(2, 3)).to(wide_type(deltas)).square().sum(3)
    return norms.view(count, groups, columns, channels // groups).permute(2, 0, 1, 3).reshape(columns, count, channels)


def weighted_squares(patches: Tensor, deltas: Tensor, factors: Tensor) -> Tensor:
    """Return Σ_i f_i (∂/∂w_ci)² of each image, column and channel.

    Args:
        patches: (N, groups, D, P), u.
        deltas: (K, N, C, P), δ for K columns.
        factors: (C, D), f.

    Returns:
        (K, N, C) float32, or float64 for float64.
    """
    columns, count, channels, places = deltas.shape
    groups, weights = patches.shape[1], patches.shape[2]
    delta = deltas.view(columns, count, groups, channels // groups, places).permute(1, 2, 0, 3, 4)
    gradients = delta.reshape(count, groups, -1, places) @ patches.transpose(2, 3)
    squares = gradients.to(wide_type(deltas)).square().view(count, groups, columns, channels // groups, weights)
    sums = torch.einsum("ngkcd,gcd->kngc", squares, factors.to(squares.dtype).view(groups, -1, weights))
    return sums.reshape(columns, count, channels)


def wide_type(values: Tensor) -> torch.dtype:
    """Return float64 for float64, otherwise float32."""
    return torch.float64 if values.dtype == torch.float64 else torch.float32
