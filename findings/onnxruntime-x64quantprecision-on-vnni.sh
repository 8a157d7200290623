#!/usr/bin/env bash
# ONNX Runtime 1.32.0: session.x64quantprecision makes INT8 slower on processors with VNNI, and changes no answer there.
#
# What is documented (onnxruntime_session_options_config_keys.h): x64 processors with no VNNI have an overflow problem
# with products of uint8 and int8; the option uses slower uint8 products instead.
# What happens: with VNNI, where nothing overflows, the option turns int8 weights into uint8 ones as well.
#
# Run it:  bash findings/onnxruntime-x64quantprecision-on-vnni.sh
# It installs the versions below into a temporary environment, and needs Python 3.11 or newer.
# Seen on an Intel Xeon with AVX-512 and VNNI:
#   plain: 2.3 ms, weights as executed: {'INT8': 6, 'UINT8': 0}
#   option: 8.1 ms, weights as executed: {'INT8': 0, 'UINT8': 6}
#   with session.x64quantprecision it takes 3.56 times as long; 0 of 262144 outputs are others
# Exit code 0: the behaviour is as stated, or the processor has no VNNI. 1: the behaviour has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6

cat > "$folder/finding.py" <<'PYTHON'
import platform
import statistics
import sys
import time
from pathlib import Path

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

OPTION = "session.x64quantprecision"
LAYERS, WIDTH, SIDE, ROUNDS = 6, 32, 32, 21
SLOWER = 1.3  # times as long, below which the option costs nothing


def network():
    """Return 3×3 convolutions of uint8 inputs and int8 weights, a scale for each channel, in QDQ form."""
    random = numpy.random.default_rng(0)
    nodes, constants = [], []

    def constant(name, value):
        constants.append(numpy_helper.from_array(value, name))
        return name

    scale = constant("scale", numpy.array(1 / 16, numpy.float32))
    zero = constant("zero", numpy.array(128, numpy.uint8))
    source = "images"
    for number in range(LAYERS):
        weight = constant(f"weight{number}", random.integers(-127, 128, (WIDTH, WIDTH, 3, 3)).astype(numpy.int8))
        scales = constant(f"weight_scale{number}", numpy.full(WIDTH, 1 / 1700, numpy.float32))
        zeros = constant(f"weight_zero{number}", numpy.zeros(WIDTH, numpy.int8))
        names = [f"values{number}", f"filters{number}", f"sums{number}", f"integers{number}"]
        nodes += [
            helper.make_node("DequantizeLinear", [source, scale, zero], names[:1]),
            helper.make_node("DequantizeLinear", [weight, scales, zeros], names[1:2], axis=0),
            helper.make_node("Conv", names[:2], names[2:3], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            helper.make_node("QuantizeLinear", [names[2], scale, zero], names[3:]),
        ]
        source = names[3]
    shape = ["images_count", WIDTH, SIDE, SIDE]
    ends = [helper.make_tensor_value_info(name, TensorProto.UINT8, shape) for name in ("images", source)]
    graph = helper.make_graph(nodes, "convolutions", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def session(content, option, executed):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.optimized_model_filepath = str(executed)
    if option:
        options.add_session_config_entry(OPTION, "1")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def weights_in(executed):
    """Return the number of int8 and of uint8 weights in the graph as it is executed."""
    types = [item.data_type for item in onnx.load(executed).graph.initializer if len(item.dims) == 4]
    return {name: types.count(getattr(TensorProto, name)) for name in ("INT8", "UINT8")}


def milliseconds(sessions, images):
    """Return the CPU time of each session's one thread, in turns: other work on the machine hardly counts."""
    times = {name: [] for name in sessions}
    for number in range(ROUNDS + 2):
        for name, each in sessions.items():
            began = time.process_time()
            each.run(None, {"images": images})
            if number >= 2:
                times[name].append(1e3 * (time.process_time() - began))
    return times


folder = Path(sys.argv[1])
said = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
sets = [name for name in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8") if name in said]
print(f"onnxruntime {onnxruntime.__version__}, onnx {onnx.__version__}, numpy {numpy.__version__}")
print(f"{platform.machine()}, instruction sets: {', '.join(sets) or 'none known here'}")

content = network()
files = {name: folder / f"{name}.onnx" for name in ("plain", "option")}
sessions = {name: session(content, name == "option", file) for name, file in files.items()}
images = numpy.random.default_rng(1).integers(0, 256, (8, WIDTH, SIDE, SIDE)).astype(numpy.uint8)
plain, option = (each.run(None, {"images": images})[0] for each in sessions.values())
other = int((plain != option).sum())
times = milliseconds(sessions, images)
ratio = statistics.median(slow / fast for fast, slow in zip(times["plain"], times["option"]))
for name in sessions:
    print(f"{name}: {statistics.median(times[name]):.1f} ms, weights as executed: {weights_in(files[name])}")
print(f"with {OPTION} it takes {ratio:.2f} times as long; {other} of {plain.size} outputs are others")

if not any("vnni" in name for name in sets):
    print("This processor has no VNNI: nothing to show here. Outputs that differ are those of sums that saturate.")
    sys.exit(0)
converted = weights_in(files["option"])["UINT8"] == LAYERS
if other == 0 and converted and ratio >= SLOWER:
    print("As stated: with VNNI the option changes no output, converts the weights, and takes longer.")
    sys.exit(0)
print("CHANGED: expected the same outputs, converted weights and a longer time.")
sys.exit(1)
PYTHON
"$folder/venv/bin/python" "$folder/finding.py" "$folder"
