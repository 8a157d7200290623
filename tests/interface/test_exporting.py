"""Exports: plain sums, a report of what runs, and what is refused."""

from collections import Counter
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

import ehap
from ehap.engines.onnxruntime.session import OnnxNetwork
from ehap.models import build_model
from tests.conftest import enliven_
from tests.pruning.plans import random_plan

IMAGES = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def _pruned(times: int = 1) -> nn.Module:
    model = build_model("resnet20", 10, seed=0).eval()
    enliven_(model)
    for number in range(times):
        model = ehap.prune(model, random_plan(model, number))
    return model


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_network_in_floating_point_has_plain_sums(tmp_path: Path, times: int) -> None:
    network = _pruned(times)
    report = ehap.export(network, tmp_path / "model.onnx", IMAGES)
    operators = Counter(node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node)
    assert operators["Conv"] == 21
    assert operators["Add"] == 9
    assert not {"ScatterND", "ScatterElements", "Transpose", "Gather", "GatherND", "BatchNormalization"} & set(
        operators
    )
    found = OnnxNetwork((tmp_path / "model.onnx").read_bytes())(IMAGES)
    torch.testing.assert_close(found, network(IMAGES).detach(), rtol=1e-3, atol=1e-4)
    assert report.round_to == 1
    assert not report.in_integers
    assert report.size.parameters <= report.padded.parameters
    assert report.agreement.images == len(IMAGES)


def test_a_quantized_network_runs_in_integers_throughout_and_the_report_says_so(tmp_path: Path) -> None:
    network = _pruned()
    int8 = ehap.quantize(network, ehap.Scheme(bits=8), IMAGES)
    before = int8(IMAGES)
    report = ehap.export(int8, str(tmp_path / "model.onnx"), IMAGES)
    assert report.in_float == {}
    assert report.in_integers["QLinearAdd"] == 9
    assert report.round_to == 16
    assert report.file_size == (tmp_path / "model.onnx").stat().st_size
    text = str(report)
    assert "in floating point:  nothing" in text
    assert "9 QLinearAdd" in text
    assert f"{report.padded.parameters:,}" in text
    assert torch.equal(int8(IMAGES), before)  # not used up
    assert ehap.verify(tmp_path / "model.onnx", int8, IMAGES).images == len(IMAGES)


def test_a_trained_network_is_exported_after_a_training_of_ones_own(tmp_path: Path) -> None:
    network = ehap.prepare_qat(_pruned(), ehap.Scheme(bits=8), IMAGES)
    optimizer = torch.optim.SGD(network.parameters(), 1e-3)
    network(IMAGES).square().mean().backward()
    optimizer.step()
    with pytest.raises(ehap.ArgumentError, match=r"call network.eval\(\) first"):
        ehap.export(network, tmp_path / "model.onnx", IMAGES)
    report = ehap.export(network.eval(), tmp_path / "model.onnx", IMAGES)
    assert report.in_float == {}


class Loose(nn.Module):
    """A BatchNorm that no convolution precedes, and a sum of two branches."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.left, self.right = nn.BatchNorm2d(3), nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W) to (N, 8)."""
        x = self.norm(x)
        return (self.left(x) + self.right(x)).relu().mean((2, 3))


def test_a_batchnorm_elsewhere_stays_one(tmp_path: Path) -> None:
    report = ehap.export(Loose().eval(), tmp_path / "model.onnx", IMAGES)
    assert report.agreement.difference < 1e-4


def test_activations_of_few_bits_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    int4 = ehap.quantize(_pruned(), ehap.Scheme(bits=4), IMAGES)
    with pytest.raises(ehap.ArchitectureError, match="activations have 4 bits, but engines take 8"):
        ehap.export(int4, tmp_path / "model.onnx", IMAGES)
    assert not list(tmp_path.iterdir())
