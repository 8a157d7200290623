"""Scores by a function of the user's: ``package.module:function``."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ehap.errors import NumericsError, PlanError
from ehap.graph.channels import channel_graph
from ehap.graph.layers import layer_weights
from ehap.pruning.scores import Scores
from ehap.settings.own_criterion import named


def own_scores(criterion: str, network: nn.Module, given: Mapping[str, object]) -> Scores:
    """Call the function of a criterion and check its scores.

    Args:
        criterion: ``package.module:function``; the module can be imported.
        network: The dense network; it is not changed.
        given: The arguments by name. A network among them is a copy, which the function may change.

    Returns:
        Layer to (C_out,) float64 on the CPU.

    Raises:
        PlanError: The function raises an error, or its scores do not fit the network.
        NumericsError: A score is NaN or infinite.
    """
    module, name = named(criterion)
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    try:
        found = function(**given)
    except Exception as error:  # the user's code may raise anything
        raise PlanError(f"criterion {criterion}: the function raised {type(error).__name__}: {error}") from error
    return checked_scores(criterion, network, found)


def checked_scores(criterion: str, network: nn.Module, found: object) -> Scores:
    """Return scores as float64, if they fit the network.

    Args:
        criterion: Name of the criterion, for messages.
        network: The dense network.
        found: Return value of the function.

    Raises:
        PlanError, NumericsError: As ``own_scores``.
    """
    weights = layer_weights(network)
    if not isinstance(found, Mapping):
        raise PlanError(f"criterion {criterion}: expected a mapping of layers to scores, got {type(found).__name__}.")
    unknown = [layer for layer in found if layer not in weights]
    if unknown:
        raise PlanError(
            f"criterion {criterion}: the network has no layer {unknown[0]!r}; its layers are "
            f"{', '.join(list(weights)[:4])} and so on, as network.named_modules() names them."
        )
    missing = [layer for layer in channel_graph(network).widths() if layer not in found]
    if missing:
        raise PlanError(f"criterion {criterion}: there are no scores for the layer {missing[0]}.")
    return {layer: _checked(criterion, layer, values, len(weights[layer])) for layer, values in found.items()}


def _checked(criterion: str, layer: str, values: object, width: int) -> Tensor:
    if not isinstance(values, Tensor) or values.shape != (width,) or values.is_complex():
        got = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise PlanError(f"criterion {criterion}: {layer}: expected a tensor of {width} scores, got {got}.")
    scores = values.detach().to("cpu", torch.float64)
    if not scores.isfinite().all():
        raise NumericsError(f"criterion {criterion}: {layer}: the scores hold NaN or Inf.")
    return scores
