"""The criteria by which channels are ranked: name to function, and what that needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ehap.errors import SettingsError
from ehap.pruning.sensitivity import Scores, bn_scale, layer_weights, magnitude, random_scores, sensitivity


@dataclass(frozen=True)
class Given:
    """What a criterion may use.

    seed: Of a draw. found: What a curvature has computed for this criterion, parameter name to (C_out,).
    """

    seed: int = 0
    found: Mapping[str, Tensor] | None = None


@dataclass(frozen=True)
class Ranking:
    """How a criterion scores the channels of a network, and whether it needs the values of a curvature."""

    scores: Callable[[nn.Module, Given], Scores]
    needs_curvature: bool = False


def ranking(criterion: str) -> Ranking:
    """Return what stands for the name of a criterion.

    Raises:
        SettingsError: There is no such criterion.
    """
    if criterion not in RANKINGS:
        raise SettingsError(f"criterion: expected one of {', '.join(RANKINGS)}, got {criterion!r}.")
    return RANKINGS[criterion]


def _found(network: nn.Module, given: Given) -> Scores:
    """Return what a curvature has found, by layer; a layer that it does not know has no scores."""
    assert given.found is not None  # see Ranking
    return {name: given.found.get(f"{name}.weight", torch.empty(0)) for name in layer_weights(network)}


RANKINGS = {
    "trace": Ranking(lambda network, given: sensitivity(_found(network, given), layer_weights(network)), True),
    "diagonal": Ranking(_found, True),
    "block": Ranking(_found, True),
    "gate": Ranking(_found, True),
    "fisher": Ranking(_found, True),
    "taylor": Ranking(_found, True),
    "magnitude": Ranking(lambda network, _: magnitude(layer_weights(network))),
    "bn-scale": Ranking(lambda network, _: bn_scale(network)),
    "random": Ranking(lambda network, given: random_scores(layer_weights(network), given.seed)),
}
"""Each value of ``Prune.criterion``; a test compares."""
