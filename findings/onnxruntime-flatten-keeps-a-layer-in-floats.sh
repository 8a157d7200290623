#!/usr/bin/env bash
# ONNX Runtime 1.32.0: integers pass through a Reshape, but not through a Flatten that does the same.
#
# In a quantized classifier, DequantizeLinear stands before the flattening and the last layer (Gemm) behind it. Flatten
# changes no value, as Reshape to [0, -1] changes none. One expects the same kernels from both.
# What happens: behind Reshape the layer becomes a QGemm on integers. Behind Flatten it stays a Gemm in floating point,
# with its weights and its input dequantized at run time, and no message says so.
#
# Run it:  bash findings/onnxruntime-flatten-keeps-a-layer-in-floats.sh
# It installs the versions below into a temporary environment, and needs Python 3.11 or newer.
# Seen:
#   Reshape: {'QuantizeLinear': 1, 'QLinearGlobalAveragePool': 1, 'Reshape': 1, 'QGemm': 1}
#   Flatten: {'DequantizeLinear': 3, 'QuantizeLinear': 1, 'QLinearGlobalAveragePool': 1, 'Flatten': 1, 'Gemm': 1}
#   the outputs differ by 1e-07 at most, of outputs up to 1.4
# Exit code 0: the behaviour is as stated. 1: it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6

cat > "$folder/finding.py" <<'PYTHON'
import sys
from collections import Counter
from pathlib import Path

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

CHANNELS, CLASSES, SIDE = 16, 10, 8


def network(flattening):
    """Quantize, average, flatten, and one layer with int8 weights and an int32 bias: all in QDQ form."""
    random = numpy.random.default_rng(0)
    scale = numpy.float32(0.02)
    weight_scale = numpy.full(CLASSES, 0.01, numpy.float32)
    constants = {
        "scale": scale,
        "zero": numpy.uint8(128),
        "weight": random.integers(-127, 128, (CLASSES, CHANNELS)).astype(numpy.int8),
        "weight_scale": weight_scale,
        "weight_zero": numpy.zeros(CLASSES, numpy.int8),
        "bias": random.integers(-1000, 1000, CLASSES).astype(numpy.int32),
        "bias_scale": scale * weight_scale,
        "bias_zero": numpy.zeros(CLASSES, numpy.int32),
        "shape": numpy.array([0, -1]),
    }
    q, dq = "QuantizeLinear", "DequantizeLinear"
    nodes = [
        helper.make_node(q, ["images", "scale", "zero"], ["a"]),
        helper.make_node(dq, ["a", "scale", "zero"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node(q, ["c", "scale", "zero"], ["d"]),
        helper.make_node(dq, ["d", "scale", "zero"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"], axis=1)
        if flattening == "Flatten"
        else helper.make_node("Reshape", ["e", "shape"], ["f"]),
        helper.make_node(dq, ["weight", "weight_scale", "weight_zero"], ["w"], axis=0),
        helper.make_node(dq, ["bias", "bias_scale", "bias_zero"], ["v"], axis=0),
        helper.make_node("Gemm", ["f", "w", "v"], ["logits"], transB=1),
    ]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", CHANNELS, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", CLASSES])],
        [numpy_helper.from_array(numpy.asarray(value), name) for name, value in constants.items() if name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    return model.SerializeToString()


def executed(content, path):
    """Return the operators that ONNX Runtime executes, with their counts, and the outputs for some images."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    images = numpy.random.default_rng(1).normal(size=(32, CHANNELS, SIDE, SIDE)).astype(numpy.float32)
    return dict(Counter(node.op_type for node in onnx.load(path).graph.node)), session.run(None, {"images": images})[0]


folder = Path(sys.argv[1])
found = {name: executed(network(name), folder / f"{name}.onnx") for name in ("Reshape", "Flatten")}
for name, (operators, _) in found.items():
    print(f"{name}: {operators}")
difference = numpy.abs(found["Reshape"][1] - found["Flatten"][1]).max()
print(f"the outputs differ by {difference:.1g} at most, of outputs up to {numpy.abs(found['Reshape'][1]).max():.1f}")
as_stated = (
    "QGemm" in found["Reshape"][0]
    and "Gemm" not in found["Reshape"][0]
    and "Gemm" in found["Flatten"][0]
    and "QGemm" not in found["Flatten"][0]
)
sys.exit(0 if as_stated else "the behaviour has changed")
PYTHON
"$folder/venv/bin/python" "$folder/finding.py" "$folder"
