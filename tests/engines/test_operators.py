"""Which operators of an audit compute in integers, and which may stay in floating point."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from ehap.engines.onnxruntime import audit, check_declared, in_integers, left_in_float
from ehap.errors import ArchitectureError, SettingsError
from ehap.settings import Deploy
from tests.quantization.images import SHAPE


@pytest.mark.parametrize(
    ("operators", "left"),
    [
        ({"QLinearConv": 2, "QuantizeLinear": 1, "DequantizeLinear": 1, "Reshape": 1}, {}),
        ({"QLinearConv": 2, "ScatterElements": 1}, {"ScatterElements": 1}),
        ({"QLinearConv": 2, "QuantizeLinear": 2, "DequantizeLinear": 1}, {"QuantizeLinear": 2}),
        ({"FusedGemm": 1, "Clip": 1, "QGemm": 1}, {"FusedGemm": 1, "Clip": 1}),
    ],
)
def test_the_audit_lets_through_what_it_knows_only(operators: dict[str, int], left: dict[str, int]) -> None:
    assert left_in_float(operators) == left


def test_what_stays_in_floating_point_is_what_is_declared_to() -> None:
    check_declared({}, ())
    check_declared({"Clip": 2, "Softmax": 1}, ("Softmax", "Clip"))
    message = r"stay in floating point: {'Clip': 2}. If that is intended, set deploy.float_operators: \[Clip, Softmax\]"
    with pytest.raises(ArchitectureError, match=message):
        check_declared({"Clip": 2, "Softmax": 1}, ("Softmax",))
    message = r"deploy.float_operators: Clip does not stay in floating point in this network; remove it"
    with pytest.raises(ArchitectureError, match=message):
        check_declared({"Softmax": 1}, ("Softmax", "Clip"))
    with pytest.raises(SettingsError, match="float_operators: expected each name once"):
        Deploy(float_operators=("Clip", "Clip"))


def test_what_stays_in_floating_point_is_named(tiny: nn.Module, tmp_path: Path) -> None:
    program = torch.onnx.export(copy.deepcopy(tiny), (torch.zeros(1, *SHAPE),), dynamo=True, verbose=False)
    assert program is not None
    program.save(tmp_path / "float.onnx")
    content = (tmp_path / "float.onnx").read_bytes()
    in_float = left_in_float(audit(content))
    assert sum(in_float.values()) >= 7
    assert in_integers(audit(content)) == 0
