"""Which session adds 8-bit products exactly: by the arithmetic of small layers, whatever the processor is called."""

from functools import partial
from typing import Any

import numpy
import onnx
import onnxruntime
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from torch import nn

from ehap.data import normalise
from ehap.engines.exact_sums import (
    OPTION,
    PLAIN,
    how_exact,
    in_session,
    needs_option,
    option_needed,
    recorded,
    saturating,
    set_option_,
)
from ehap.engines.onnxruntime import OnnxNetwork, audit, to_onnx
from ehap.engines.sum_probes import probes, probing_model
from ehap.errors import DeviceError
from ehap.quantization import unpack
from tests.quantization.images import INFO, SETTINGS, SHAPE, packed_on_images, random_images


def _paired(left: Any, right: Any) -> Any:
    """Return left (…, R, K) times right (…, K, C), pairs of products saturating at 16 bits."""
    products = numpy.asarray(left)[..., :, :, None].astype(float) * numpy.asarray(right)[..., None, :, :].astype(float)
    pairs = [products[..., first : first + 2, :].sum(-2) for first in range(0, products.shape[-2], 2)]
    return numpy.clip(pairs, -(2**15), 2**15 - 1).sum(0)


class Conv(OpRun):
    op_domain = ""

    def _run(self, x: Any, w: Any, b: Any, group: int, kernel_shape: Any, strides: Any, **_: Any) -> tuple[Any]:
        patches = [
            nn.functional.unfold(part, tuple(kernel_shape), stride=tuple(strides)).numpy()
            for part in torch.tensor(x).chunk(group, 1)
        ]
        rows = numpy.split(w.reshape(len(w), -1), group)
        sums = [
            _paired(numpy.broadcast_to(row, (len(x), *row.shape)), each)
            for row, each in zip(rows, patches, strict=True)
        ]
        side = (x.shape[2] - kernel_shape[0]) // strides[0] + 1
        whole = numpy.concatenate(sums, 1).reshape(len(x), len(w), side, side)
        return ((whole + b.reshape(1, -1, 1, 1)).astype(numpy.float32),)


class Gemm(OpRun):
    op_domain = ""

    def _run(self, x: Any, w: Any, b: Any, **_: Any) -> tuple[Any]:
        return ((_paired(x, w.T) + b).astype(numpy.float32),)


class MatMul(OpRun):
    op_domain = ""

    def _run(self, x: Any, w: Any) -> tuple[Any]:
        return (_paired(x, w).astype(numpy.float32),)


class MatMulInteger(OpRun):
    op_domain = ""

    def _run(self, x: Any, w: Any, *_: Any) -> tuple[Any]:
        return (_paired(x, w).astype(numpy.int32),)


def _reference(content: bytes, inputs: Any, operators: Any = ()) -> dict[str, Any]:
    """Run a file on an engine that has no kernels of its own; ``operators`` take the place of its operators."""
    engine = ReferenceEvaluator(onnx.load_from_string(content), new_ops=list(operators))
    return dict(zip(engine.output_names, engine.run(None, dict(inputs)), strict=True))


SATURATING = partial(_reference, operators=(Conv, Gemm, MatMul, MatMulInteger))


def test_sums_on_this_processor_are_exact_as_decided() -> None:
    assert saturating(partial(in_session, option=option_needed())) == ()
    if not option_needed():  # then it is the plain session that is exact
        assert saturating(partial(in_session, option=False)) == ()
    assert how_exact() == (OPTION if option_needed() else PLAIN)
    assert recorded()["exact_sums_option"].value == option_needed()


def test_an_engine_that_saturates_needs_the_option_and_an_exact_one_does_not() -> None:
    assert saturating(SATURATING) == tuple(probe.name for probe in probes())  # each of them alone would be noticed
    assert needs_option(SATURATING, _reference)
    assert not needs_option(_reference, SATURATING)


@pytest.mark.parametrize("operator", [Conv, Gemm, MatMul, MatMulInteger])
def test_one_operator_that_saturates_is_enough(operator: type[OpRun]) -> None:
    assert needs_option(partial(_reference, operators=(operator,)), _reference)


def test_sums_that_are_wrong_either_way_are_refused() -> None:
    message = (
        r"adds 8-bit products wrong on this processor, even with session.x64quantprecision: stem, .*plain product\."
    )
    with pytest.raises(DeviceError, match=message):
        needs_option(SATURATING, SATURATING)


def test_a_sum_that_is_off_by_one_is_noticed() -> None:
    def off(content: bytes, inputs: Any) -> dict[str, Any]:
        return {name: found + (found == found.max()) for name, found in _reference(content, inputs).items()}

    assert len(saturating(off)) == len(probes())


def test_every_probe_runs_on_a_kernel_of_integers() -> None:
    operators = audit(probing_model(probes()))
    kinds = {name: count for name, count in operators.items() if name != "Transpose"}
    assert kinds == {"QLinearConv": 10, "QGemm": 2, "QLinearMatMul": 1, "MatMulInteger": 1}


def test_a_session_has_the_option_where_it_is_needed_only() -> None:
    for asked, wanted in ((None, option_needed()), (True, True), (False, False)):
        options = onnxruntime.SessionOptions()
        set_option_(options, asked)
        if wanted:
            assert options.get_session_config_entry(OPTION) == "1"
        else:
            with pytest.raises(RuntimeError):
                options.get_session_config_entry(OPTION)


def test_a_network_of_largest_weights_and_inputs_has_exact_sums_here() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 4 * 4, 5)
    )
    with torch.no_grad():
        for layer in model[::2]:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.weight.copy_(layer.weight.abs().clamp_min(0.6 * layer.weight.abs().max()))
    packed = packed_on_images(model.eval())
    inputs = normalise(torch.full_like(random_images(8), 255), INFO)
    with torch.no_grad():
        wanted = unpack(packed, model, SETTINGS, SHAPE)(inputs)
        found = OnnxNetwork(to_onnx(unpack(packed, model, SETTINGS, SHAPE), SHAPE))(inputs)
    assert (found - wanted).abs().max() < 0.02 * wanted.abs().max()  # saturation would take half of each sum
