"""Engines are shown to give what the simulation does; what they compute otherwise is an error."""

import logging
import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from ehap.engines import inductor
from ehap.engines.inductor import InductorNetwork
from ehap.engines.onnxruntime import OnnxNetwork, floats_to_onnx, to_onnx
from ehap.engines.proof import check_engine, spread_images
from ehap.errors import ArchitectureError, MismatchError
from ehap.graph import INTEGER
from ehap.graph.folding import fuse_norms
from ehap.quantization import SimulatedNetwork, canonical, prepare_qat, quantizer, unpack
from ehap.settings import Scheme
from tests.quantization.images import SETTINGS, SHAPE, packed_on_images, random_inputs


def _into_onnx(network: SimulatedNetwork) -> object:
    return to_onnx(network, SHAPE)


def _into_inductor(network: SimulatedNetwork) -> object:
    return InductorNetwork(network, random_inputs(4))


@pytest.mark.parametrize("bits", [7, 4])
@pytest.mark.parametrize("engine", [_into_onnx, _into_inductor])
def test_activations_narrower_than_their_type_are_refused(
    tiny: nn.Module, bits: int, engine: Callable[[SimulatedNetwork], object]
) -> None:
    settings = Scheme(activation_bits=bits)
    with pytest.raises(
        ArchitectureError, match=f"activations have {bits} bits, but engines take 8: .*activation_bits 8"
    ):
        engine(unpack(packed_on_images(tiny, settings), tiny, settings, SHAPE))


def test_weights_narrower_than_their_type_are_possible(tiny: nn.Module) -> None:
    settings = Scheme(bits=4, activation_bits=8)
    packed, images = packed_on_images(tiny, settings), random_inputs(64)
    with torch.no_grad():
        wanted = unpack(packed, tiny, settings, SHAPE)(images)
    found = OnnxNetwork(to_onnx(unpack(packed, tiny, settings, SHAPE), SHAPE))(images)
    assert check_engine(found, wanted, "the file and the network").difference < 0.05


def test_a_file_that_computes_otherwise_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Average pooling as it was exported before: ONNX Runtime divides by another number at the edge."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 2), nn.ReLU(), nn.AvgPool2d(2, ceil_mode=True), nn.Flatten()).eval()
    model.append(nn.Linear(8 * 16, 5))
    packed = packed_on_images(model)
    network = unpack(packed, model, SETTINGS, SHAPE)
    with torch.no_grad():
        assert network(spread_images(network, SHAPE)).std(0).min() > 0.05  # the images are seen
    assert to_onnx(network, SHAPE)
    monkeypatch.setattr(canonical, "POOLS", ())
    monkeypatch.setattr(quantizer, "_pooled_otherwise", lambda node: "")
    for example in (None, random_inputs(8)):
        with pytest.raises(
            MismatchError, match=r"the ONNX file and the simulated network give different outputs: off by"
        ):
            to_onnx(unpack(packed, model, SETTINGS, SHAPE), SHAPE, example)


def test_a_file_in_floating_point_gives_what_it_stands_for(tiny: nn.Module) -> None:
    content = floats_to_onnx(fuse_norms(tiny), SHAPE, stands_for=tiny)
    images = random_inputs(8)
    with torch.no_grad():
        torch.testing.assert_close(OnnxNetwork(content)(images), tiny(images), rtol=1e-4, atol=1e-4)
    other = fuse_norms(tiny)
    with torch.no_grad():
        other.get_submodule("block2.conv1").weight[0] += 0.05
    with pytest.raises(MismatchError, match="the ONNX file and the network give different outputs"):
        floats_to_onnx(other, SHAPE, stands_for=tiny)
    pooled = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AvgPool2d(2, divisor_override=3), nn.Flatten()).eval()
    with pytest.raises(MismatchError, match="the ONNX file and the network give different outputs"):
        floats_to_onnx(pooled, SHAPE)


def test_inductor_is_shown_to_give_what_the_network_does(
    tiny: nn.Module, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    packed, images = packed_on_images(tiny), random_inputs(32)
    other = {name: tensor // 2 if name == "block1.conv1.weight" else tensor for name, tensor in packed.items()}
    plain, wrong = inductor.converted, unpack(other, tiny, SETTINGS, SHAPE)
    compiled = InductorNetwork(unpack(packed, tiny, SETTINGS, SHAPE), images)
    assert compiled.tolerance == INTEGER or not torch.cpu._is_vnni_supported()
    assert compiled.agreement.images == inductor.SHOWN
    assert compiled.agreement.difference < 0.05
    monkeypatch.setattr(inductor, "converted", lambda network: plain(wrong))
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True)
    with pytest.raises(MismatchError, match="the network compiled by Inductor and the simulated one give different"):
        InductorNetwork(unpack(packed, tiny, SETTINGS, SHAPE), images)
    # Where sums of 8-bit products saturate, as without VNNI, other outputs are known to come, and are told.
    wrong = unpack(other, tiny, SETTINGS, SHAPE)
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    with caplog.at_level(logging.WARNING):
        compiled = InductorNetwork(unpack(packed, tiny, SETTINGS, SHAPE), images)
    assert compiled.tolerance == math.inf
    assert f"off by {compiled.agreement.difference:.2g} of the largest output on 16 images" in caplog.text
    assert compiled.agreement.difference > INTEGER


@pytest.mark.parametrize(("vnni", "bits", "possible"), [(True, 8, False), (False, 8, True), (False, 7, False)])
def test_sums_saturate_without_vnni_and_with_8_bits(
    tiny: nn.Module, monkeypatch: pytest.MonkeyPatch, vnni: bool, bits: int, possible: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: vnni)
    network = prepare_qat(tiny, Scheme(bits=bits, activation_bits=8), SHAPE)
    assert inductor._may_saturate(network) == possible


def test_half_of_the_images_may_fall_to_the_other_side() -> None:
    wanted = torch.randn(16, 5, generator=torch.Generator().manual_seed(0))
    wanted[0, 0] = 5
    found = wanted.clone()
    found[3:11, 1] += 0.2
    assert check_engine(found, wanted, "one and the other").difference == pytest.approx(0.04)
    found[12, 1] += 0.2
    with pytest.raises(
        MismatchError, match=r"one and the other give different outputs: off by 0\.04 of .* at most 0\.02"
    ):
        check_engine(found, wanted, "one and the other")
    found = wanted.clone()
    found[3, 1] += 0.6
    with pytest.raises(MismatchError, match=r"off by 0\.12 of the largest output, at most 0\.1 is allowed"):
        check_engine(found, wanted, "one and the other")
    assert check_engine(found, wanted, "one and the other", tolerance=math.inf).difference == pytest.approx(0.12)
    found[3, 1] = torch.nan
    with pytest.raises(MismatchError):
        check_engine(found, wanted, "one and the other", tolerance=math.inf)
