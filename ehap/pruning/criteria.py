"""The criteria by which channels are ranked: name to function."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from ehap.errors import SettingsError
from ehap.graph.layers import layer_weights
from ehap.pruning.scores import Scores, bn_scale, magnitude, random_scores, sensitivity

Function = TypeVar("Function")


def scores_of(network: nn.Module, criterion: str, seed: int) -> Scores:
    """Return the scores of a criterion that needs the network alone.

    Args:
        network: The dense network.
        criterion: A name from OF_NETWORK.
        seed: Seed of the draw, for criteria that draw.

    Raises:
        SettingsError: There is no such criterion.
    """
    return _known(OF_NETWORK, criterion)(network, seed)


def scores_from(network: nn.Module, criterion: str, found: Mapping[str, Tensor]) -> Scores:
    """Return the scores of a criterion that needs a curvature.

    Args:
        network: The dense network.
        criterion: A name from OF_CURVATURE.
        found: Values of the curvature for this criterion: layer to (C_out,).

    Raises:
        SettingsError: There is no such criterion.
    """
    return _known(OF_CURVATURE, criterion)(network, found)


def as_found(network: nn.Module, found: Mapping[str, Tensor]) -> Scores:
    """Return the values of a curvature; a layer without any has no scores."""
    return {name: found.get(name, torch.empty(0)) for name in layer_weights(network)}


OF_NETWORK: dict[str, Callable[[nn.Module, int], Scores]] = {
    "magnitude": lambda network, _: magnitude(layer_weights(network)),
    "bn-scale": lambda network, _: bn_scale(network),
    "random": lambda network, seed: random_scores(layer_weights(network), seed),
}
OF_CURVATURE: dict[str, Callable[[nn.Module, Mapping[str, Tensor]], Scores]] = {
    "trace": lambda network, found: sensitivity(as_found(network, found), layer_weights(network)),
    "diagonal": as_found,
    "block": as_found,
    "gate": as_found,
    "fisher": as_found,
    "taylor": as_found,
}
"""With OF_NETWORK each name of ``ehap.settings.criteria``; a test compares."""


def _known(functions: Mapping[str, Function], criterion: str) -> Function:
    if criterion not in functions:
        raise SettingsError(f"criterion: expected one of {', '.join(functions)}, got {criterion!r}.")
    return functions[criterion]
