"""Small integer layers whose sums of products exceed 16 bits, with their exact outputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 21, 10
LARGEST = 255
"""Value of every input: two products with any weight of a probe exceed 16 bits."""
MIDDLE = 128
"""Zero point of the outputs."""


@dataclass(frozen=True)
class Probe:
    """One layer, input to output in integers.

    name: The name of the probe and of its output.
    inputs: uint8, LARGEST throughout.
    wanted: The exact output. Every position has the same sums; the bias shifts them into 8 bits.
    nodes, constants: Parts of its ONNX graph.
    """

    name: str
    inputs: NDArray[Any]
    wanted: NDArray[Any]
    nodes: tuple[onnx.NodeProto, ...]
    constants: tuple[onnx.TensorProto, ...]

    @property
    def source(self) -> str:
        """Name of the input."""
        return f"{self.name}.input"


def probes() -> list[Probe]:
    """Return a probe for each kind of kernel; engines choose kernels by operator, channels, kernel size and rows."""
    return [
        _convolution("stem", channels=3, width=16, size=3),
        _convolution("convolution", channels=16, width=32, size=3),
        _convolution("strided", channels=16, width=16, size=3, stride=2),
        _convolution("odd widths", channels=6, width=7, size=3),
        _convolution("pointwise", channels=32, width=16, size=1),
        _convolution("pointwise, odd widths", channels=5, width=7, size=1),
        _convolution("grouped", channels=16, width=16, size=3, groups=2),
        _convolution("depthwise", channels=16, width=16, size=3, groups=16),
        _convolution("depthwise, odd width", channels=6, width=6, size=3, groups=6),
        _convolution("depthwise, 5 by 5", channels=16, width=16, size=5, groups=16),
        _linear("linear, one row", rows=1),
        _linear("linear", rows=9),
        _product("product", rows=9),
        _plain_product("plain product", rows=9),
    ]


def probing_model(found: Sequence[Probe]) -> bytes:
    """Return probes as one ONNX file with an input and an output for each."""
    inputs = [helper.make_tensor_value_info(each.source, TensorProto.UINT8, each.inputs.shape) for each in found]
    outputs = [
        helper.make_tensor_value_info(each.name, helper.np_dtype_to_tensor_dtype(each.wanted.dtype), each.wanted.shape)
        for each in found
    ]
    nodes = [node for each in found for node in each.nodes]
    graph = helper.make_graph(nodes, "probes", inputs, outputs, [item for each in found for item in each.constants])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return bytes(model.SerializeToString())


def _convolution(name: str, channels: int, width: int, size: int, stride: int = 1, groups: int = 1) -> Probe:
    weight = _weights(width, channels // groups, size, size)
    inputs = numpy.full((2, channels, 8, 8), LARGEST, numpy.uint8)
    side = (8 - size) // stride + 1
    shape = {"kernel_shape": [size, size], "strides": [stride, stride], "group": groups}
    return _layer(name, "Conv", inputs, weight, (2, width, side, side), shape)


def _linear(name: str, rows: int) -> Probe:
    return _layer(name, "Gemm", _rows(rows), _weights(10, 64), (rows, 10), {"transB": 1})


def _layer(
    name: str, operator: str, inputs: NDArray[Any], weight: NDArray[Any], shape: tuple[int, ...], how: dict[str, Any]
) -> Probe:
    """Return a layer between QuantizeLinear and DequantizeLinear, as in files for engines.

    Each output is MIDDLE plus its own small number if the sum is exact to the last bit.
    """
    width = len(weight)
    shifts = numpy.arange(width) % 5 - 2
    bias = shifts - _sums(weight)
    scales = numpy.full(width, 1.0, numpy.float32)
    parts = [
        *_constants(name, "weight", weight, scales, numpy.zeros(width, numpy.int8)),
        *_constants(name, "bias", bias.astype(numpy.int32), scales, numpy.zeros(width, numpy.int32)),
    ]
    names = [f"{name}.{part}.dequantized" for part in ("input", "weight", "bias")]
    nodes = [
        _dequantize(f"{name}.weight", names[1], axis=0),
        _dequantize(f"{name}.bias", names[2], axis=0),
        helper.make_node(operator, names, [f"{name}.float"], **how),
    ]
    wanted = (MIDDLE + shifts).reshape(1, width, *(1,) * (len(shape) - 2))
    return _between(name, inputs, numpy.broadcast_to(wanted, shape).astype(numpy.uint8), nodes, parts, 1.0)


def _product(name: str, rows: int) -> Probe:
    """Return a product of matrices without bias between QuantizeLinear and DequantizeLinear.

    Its weights have the largest size, and one sign in a column: a sum that saturates loses half of its value.
    """
    weight = _signs(10)[None, :] * numpy.full((64, 1), 127, numpy.int8)
    step = LARGEST * 127 * 64 / 100
    zero = numpy.zeros((), numpy.int8)
    parts = _constants(name, "weight", weight, numpy.float32(1.0), zero)
    names = [f"{name}.{part}.dequantized" for part in ("input", "weight")]
    nodes = [_dequantize(f"{name}.weight", names[1]), helper.make_node("MatMul", names, [f"{name}.float"])]
    wanted = numpy.rint(_sums(weight.T) / step).astype(numpy.int64) + MIDDLE
    return _between(
        name, _rows(rows), numpy.broadcast_to(wanted, (rows, 10)).astype(numpy.uint8), nodes, list(parts), step
    )


def _plain_product(name: str, rows: int) -> Probe:
    """Return a product of matrices whose output is the sum itself."""
    weight = _weights(10, 64).T
    parts = [
        numpy_helper.from_array(weight, f"{name}.weight"),
        numpy_helper.from_array(numpy.zeros((), numpy.uint8), f"{name}.input_zero"),
        numpy_helper.from_array(numpy.zeros((), numpy.int8), f"{name}.weight_zero"),
    ]
    names = [f"{name}.{part}" for part in ("input", "weight", "input_zero", "weight_zero")]
    wanted = numpy.broadcast_to(_sums(weight.T), (rows, 10)).astype(numpy.int32)
    return Probe(name, _rows(rows), wanted, (helper.make_node("MatMulInteger", names, [name]),), tuple(parts))


def _between(
    name: str,
    inputs: NDArray[Any],
    wanted: NDArray[Any],
    nodes: list[onnx.NodeProto],
    parts: list[onnx.TensorProto],
    step: float,
) -> Probe:
    """Return a probe of nodes in floating point, with DequantizeLinear before and QuantizeLinear behind them."""
    ends = (("input", 1.0, 0), ("output", step, MIDDLE))
    for end, scale, zero in ends:
        parts.append(numpy_helper.from_array(numpy.array(scale, numpy.float32), f"{name}.{end}_scale"))
        parts.append(numpy_helper.from_array(numpy.array(zero, numpy.uint8), f"{name}.{end}_zero"))
    first = _dequantize(f"{name}.input", f"{name}.input.dequantized")
    last = helper.make_node("QuantizeLinear", [f"{name}.float", f"{name}.output_scale", f"{name}.output_zero"], [name])
    return Probe(name, inputs, wanted, (first, *nodes, last), tuple(parts))


def _dequantize(name: str, result: str, **how: Any) -> onnx.NodeProto:
    return helper.make_node("DequantizeLinear", [name, f"{name}_scale", f"{name}_zero"], [result], **how)


def _constants(name: str, part: str, *values: NDArray[Any] | numpy.generic) -> list[onnx.TensorProto]:
    endings = ("", "_scale", "_zero")
    return [
        numpy_helper.from_array(numpy.asarray(value), f"{name}.{part}{ending}")
        for value, ending in zip(values, endings, strict=True)
    ]


def _rows(count: int) -> NDArray[numpy.uint8]:
    return numpy.full((count, 64), LARGEST, numpy.uint8)


def _signs(width: int) -> NDArray[numpy.int8]:
    return numpy.where(numpy.arange(width) % 2, -1, 1).astype(numpy.int8)


def _weights(width: int, *shape: int) -> NDArray[numpy.int8]:
    """Return weights (width, *shape) of one sign in each output, all beyond ±64: every pair of products saturates."""
    sizes = numpy.random.default_rng(0).integers(65, 128, (width, *shape))
    return (sizes * _signs(width).reshape(width, *(1,) * len(shape))).astype(numpy.int8)


def _sums(weight: NDArray[Any]) -> NDArray[numpy.int64]:
    """Return the exact sum of products of each output, for inputs of LARGEST."""
    sums: NDArray[numpy.int64] = LARGEST * weight.reshape(len(weight), -1).astype(numpy.int64).sum(1)
    return sums
