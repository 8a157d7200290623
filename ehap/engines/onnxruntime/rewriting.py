"""Rewrite an exported ONNX model so that ONNX Runtime finds an integer kernel for every layer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy
import onnx
from onnx import helper, numpy_helper

from ehap.engines.onnxruntime.operators import MOVING
from ehap.errors import ArchitectureError


def biases_as_integers_(model: onnx.ModelProto) -> None:
    """Turn the bias of every layer into int32 at the scale of its input times its weight, as integer kernels need.

    Raises:
        ArchitectureError: A bias does not lie on this grid, or the input of a layer is not quantized.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    values = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    for node in list(model.graph.node):
        if node.op_type not in ("Conv", "Gemm") or len(node.input) < 3:  # noqa: PLR2004
            continue
        source, weight = (_dequantized(makers, name) for name in node.input[:2])
        step = values[source.input[1]].astype(numpy.float64) * values[weight.input[1]].astype(numpy.float64)
        bias = values[node.input[2]].astype(numpy.float64)
        integers = numpy.rint(bias / step)
        # Bias and step are float32: each has a relative error of up to 2⁻²⁴.
        if (numpy.abs(integers - bias / step) > 1e-2 + numpy.abs(integers) * 2**-22).any():
            raise ArchitectureError(
                f"{node.name}: the bias lies off the int32 grid of its layer; export a network that unpack returned."
            )
        names = [f"{node.input[2]}_{what}" for what in ("quantized", "scale", "zero_point", "dequantized")]
        parts = (integers.astype(numpy.int32), step.astype(numpy.float32), numpy.zeros(len(step), numpy.int32))
        for name, part in zip(names, parts, strict=False):
            model.graph.initializer.append(numpy_helper.from_array(part, name))
        made = helper.make_node("DequantizeLinear", names[:3], names[3:], f"{names[3]}_node", axis=0)
        model.graph.node.insert(list(model.graph.node).index(node), made)
        node.input[2] = names[3]
    _remove_unused_(model)


def own_zero_points_(model: onnx.ModelProto) -> None:
    """Give every weight its own zero points: ``exact_sums.OPTION`` converts them one by one."""
    values = {item.name: item for item in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in values:
            own = onnx.TensorProto()
            own.CopyFrom(values[node.input[2]])
            own.name = f"{node.input[0]}_zero_point"
            model.graph.initializer.append(own)
            node.input[2] = own.name
    _remove_unused_(model)


def strip_(model: onnx.ModelProto) -> None:
    """Remove the exporter's notes on the origin of each part: they are more than half of a small file."""
    parts: Sequence[Any] = [model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.value_info]
    for part in (*parts, *model.graph.input, *model.graph.output):
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]
        if isinstance(part, (onnx.NodeProto, onnx.TensorProto)):
            part.doc_string = ""
    del model.graph.value_info[:]


def _remove_unused_(model: onnx.ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input}
    for item in list(model.graph.initializer):
        if item.name not in used:
            model.graph.initializer.remove(item)


def _dequantized(makers: Mapping[str, onnx.NodeProto], name: str) -> onnx.NodeProto:
    """Return the DequantizeLinear that makes the input of a layer; operators that move values may lie between."""
    node = makers[name]
    while node.op_type in MOVING:
        node = makers[node.input[0]]
    if node.op_type != "DequantizeLinear":
        raise ArchitectureError(
            f"{name}: the input of a layer comes from {node.op_type} and is not quantized; export a simulated network."
        )
    return node
