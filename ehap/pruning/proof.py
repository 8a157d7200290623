"""Comparison of a pruned network with the masked original, on examples."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ehap.errors import MismatchError
from ehap.graph import Agreement, answers_of, check_answers, check_reading, evaluating, tolerance_of
from ehap.graph.channels import LAYERS, ChannelGraph, Kept

PARTS = (*LAYERS, "norm")
"""Kinds of steps whose results are masked: those with parameters for each channel."""
Calls = dict[str, Tensor]
"""Path of a module to its output."""


@torch.no_grad()
def check_pruned(model: nn.Module, pruned: nn.Module, graph: ChannelGraph, kept: Kept, example: Tensor) -> Agreement:
    """Raise unless a pruned network gives the outputs of the original with the removed channels set to 0.

    The removed channels are set to 0 in the output of each layer and each BatchNorm of the original. So the proof
    trusts neither the graph nor its parameters. Both networks are called in eval mode.

    Args:
        model: The original; it is not changed.
        pruned: The pruned network, unions in sorted order.
        graph: The channel graph of the original.
        kept: The plan.
        example: (N, C, H, W), in their type and on their device.

    Raises:
        MismatchError: They differ; the message names the first layer at which they do.
        ArchitectureError, DataError, NumericsError: A network cannot be called, or gives NaN or Inf.
    """
    carried = graph.carried(kept)
    parts = [step for step in graph.steps if step.kind in PARTS]
    channels = {step.module: carried[step.name] for step in parts}
    widths = {step.module: graph.dense[step.name] for step in parts}
    masked, smaller = Calls(), Calls()
    with evaluating(model), evaluating(pruned):
        with _masked(model, channels, widths, masked):
            wanted = answers_of(model, example)
        with _noted(pruned, channels, smaller):
            found = answers_of(pruned, example)
    try:
        return check_answers(found, wanted, "the pruned network and the masked original")
    except MismatchError as error:
        check_reading(model, example)  # says so where the original was misread
        raise MismatchError(f"{error} {_first_difference(channels, masked, smaller)}") from None


@contextmanager
def _masked(
    model: nn.Module, channels: Mapping[str, Sequence[int]], widths: Mapping[str, int], calls: Calls
) -> Iterator[None]:
    """Set removed channels to 0 in outputs of modules in the block, and note the kept ones."""

    def masker(path: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 (a hook)
        def hook(_: nn.Module, __: object, output: Tensor) -> Tensor:
            mask = torch.zeros(widths[path], dtype=output.dtype, device=output.device)
            mask[list(channels[path])] = 1
            # Not a product: a removed channel may hold Inf.
            result = torch.where(mask.view(-1, *[1] * (output.dim() - 2)) > 0, output, 0)
            calls[path] = result[:, list(channels[path])].clone()
            return result

        return hook

    with _hooked(model, {path: masker(path) for path in channels}):
        yield


@contextmanager
def _noted(pruned: nn.Module, paths: Mapping[str, object], calls: Calls) -> Iterator[None]:
    """Note the outputs of modules in the block."""

    def noter(path: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 (a hook)
        def hook(_: nn.Module, __: object, output: Tensor) -> None:
            calls[path] = output.clone()

        return hook

    with _hooked(pruned, {path: noter(path) for path in paths}):
        yield


@contextmanager
def _hooked(model: nn.Module, hooks: Mapping[str, object]) -> Iterator[None]:
    handles = [model.get_submodule(path).register_forward_hook(hook) for path, hook in hooks.items()]  # type: ignore[arg-type]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _first_difference(paths: Mapping[str, object], masked: Calls, smaller: Calls) -> str:
    for path in paths:
        if path not in masked or path not in smaller:
            return f"{path} is called in one of them only."
        first, second = smaller[path], masked[path]
        tolerance = tolerance_of(second) * float(second.abs().max()) if second.numel() else 0.0
        if first.shape != second.shape or not torch.allclose(first, second, rtol=0, atol=tolerance):
            return f"They differ from {path} on."
    return "They differ behind the last layer."
