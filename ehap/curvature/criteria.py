"""The criteria that one exact pass computes: name, function, and the reference that proves it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ehap.curvature import jacobian, layer_scores
from ehap.curvature.jacobian import Derivatives
from ehap.curvature.layer_scores import LayerPass


@dataclass(frozen=True)
class LayerScore:
    """A score of channels that are computed layer by layer.

    score: Maps a pass to (K, N, C). reference: Maps plain derivatives to the same score, and to its value for logits
    of curvature 1. of: Columns of the loss's Hessian in the logits, or the gradient of each image's own loss. at_gates:
    Whether the derivatives are taken in gates; otherwise in weights. degree: Power of the gradients in the score.
    """

    score: Callable[[LayerPass], Tensor]
    reference: Callable[[Derivatives], tuple[Tensor, Tensor]]
    of: Literal["hessian", "own loss"] = "hessian"
    at_gates: bool = False
    degree: int = 2


SCORES = {
    "trace": LayerScore(layer_scores.trace, jacobian.trace),
    "diagonal": LayerScore(layer_scores.diagonal, jacobian.diagonal),
    "block": LayerScore(layer_scores.block, jacobian.block),
    "gate": LayerScore(layer_scores.gate, jacobian.gate, at_gates=True),
    "fisher": LayerScore(layer_scores.fisher, jacobian.fisher, of="own loss", at_gates=True),
    "taylor": LayerScore(layer_scores.taylor, jacobian.taylor, of="own loss", at_gates=True, degree=1),
}
"""Each criterion of ``ehap.settings.criteria`` that needs a curvature; a test compares."""


def of_hessian(criteria: Iterable[str]) -> list[str]:
    """Return those of the criteria that come from the columns of the loss's Hessian."""
    return [name for name in criteria if SCORES[name].of == "hessian"]


def at_gates(criteria: Iterable[str]) -> list[str]:
    """Return those of the criteria whose derivatives are taken in gates."""
    return [name for name in criteria if SCORES[name].at_gates]
