"""Schemes of quantization: ranges, budgets and messages."""

import dataclasses
from typing import Any

import pytest

from ehap.errors import SettingsError
from ehap.settings import Qat, Scheme, Training


def test_the_block_qat_is_a_scheme_and_a_training() -> None:
    names = {kind: {field.name for field in dataclasses.fields(kind)} for kind in (Qat, Scheme, Training)}
    further = {"range_momentum", "calibration_images", "hessian_images"}
    assert names[Qat] == names[Scheme] | names[Training] | further
    assert not names[Scheme] & names[Training]


def test_a_list_of_widths_becomes_a_tuple() -> None:
    assert Scheme(mix=[4, 8], size=0.7) == Scheme(mix=(4, 8), size=0.7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"bits": 1}, "bits must be 2 to 8, got 1"),
        ({"bits": 16}, "bits must be 2 to 8, got 16"),
        ({"bits": 32}, "bits must be 2 to 8, got 32"),
        ({"bits": "8"}, "bits must be 2 to 8, got '8'"),
        ({"bits": 8.0}, "bits must be 2 to 8, got 8.0"),
        ({"bits": True}, "bits must be 2 to 8, got True"),
        ({"activation_bits": 9}, "activation_bits must be 2 to 8, got 9"),
        ({"mix": 4}, r"mix must be a list of widths, e.g. \[4, 8\], got 4"),
        ({"mix": (4, 32), "size": 0.7}, "mix must be 2 to 8, got 32"),
        ({"mix": (4, 8)}, "mix needs one budget"),
        ({"mix": (4, 8), "size": 70}, r"size must lie in \(0, 1\], got 70"),
        ({"size": 0.5}, "size is a budget for mix"),
        ({"norms": "folded"}, "norms must be one of frozen, live, got 'folded'"),
    ],
)
def test_a_scheme_refuses_what_is_out_of_range(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Scheme(**given)


def test_only_a_training_may_leave_quantization_out() -> None:
    assert Qat(epochs=1, learning_rate=0.1, bits=32).bits == 32
    with pytest.raises(SettingsError, match="or 32 for none at all, got 9"):
        Qat(epochs=1, learning_rate=0.1, bits=9)
