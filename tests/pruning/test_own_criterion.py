"""What a function of the user's may return."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ehap.errors import EhapError, NumericsError, PlanError
from ehap.graph.layers import layer_weights
from ehap.pruning.own_criterion import checked_scores, own_scores


def _scores(network: nn.Module) -> dict[str, Tensor]:
    return {layer: torch.arange(len(weight)) for layer, weight in layer_weights(network).items()}


def test_scores_become_numbers_in_double_precision(tiny: nn.Module) -> None:
    found = checked_scores("a:b", tiny, _scores(tiny))
    assert found["conv1"].tolist() == list(range(len(found["conv1"])))
    assert {scores.dtype for scores in found.values()} == {torch.float64}


def _without(found: dict[str, Tensor], layer: str) -> dict[str, Tensor]:
    return {name: scores for name, scores in found.items() if name != layer}


@pytest.mark.parametrize(
    ("changed", "kind", "message"),
    [
        (list, PlanError, "a:b: expected a mapping of layers to scores, got list"),
        (
            lambda found: found | {"conv9": found["fc"]},
            PlanError,
            "the network has no layer 'conv9'; its layers",
        ),
        (lambda found: _without(found, "fc"), PlanError, "a:b: there are no scores for the layer fc"),
        (
            lambda found: found | {"fc": found["fc"][1:]},
            PlanError,
            r"fc: expected a tensor of 5 scores, got shape",
        ),
        (lambda found: found | {"fc": [1.0] * 5}, PlanError, "fc: expected a tensor of 5 scores, got list"),
        (lambda found: found | {"fc": found["fc"] / 0}, NumericsError, "a:b: fc: the scores hold NaN or Inf"),
    ],
)
def test_scores_that_do_not_fit_are_refused(
    tiny: nn.Module, changed: Callable[[Any], object], kind: type[EhapError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        checked_scores("a:b", tiny, changed(_scores(tiny)))


def test_an_error_of_the_function_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: nn.Module) -> None:
    (tmp_path / "users_scores.py").write_text("def score(seed):\n    raise KeyError('no')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PlanError, match="criterion users_scores:score: the function raised KeyError: 'no'"):
        own_scores("users_scores:score", tiny, {"seed": 0})
