"""Which operators of an ONNX file ONNX Runtime executes in integers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import onnxruntime

from ehap.engines.onnxruntime.session import opened
from ehap.errors import ArchitectureError
from ehap.runtime.files import writing

IN_INTEGERS = (
    "QLinearConv",
    "QGemm",
    "QLinearAdd",
    "QLinearAveragePool",
    "QLinearGlobalAveragePool",
    "QLinearMatMul",
)
"""Operators that compute in integers."""
MOVING = ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "MaxPool", "NhwcMaxPool")
"""Operators that change no value."""
ENDS = {"QuantizeLinear": 1, "DequantizeLinear": 1}
"""Operators at the network's input and output; more of them are a detour through floating point."""


def audit(content: bytes) -> dict[str, int]:
    """Return the operators of the graph that ONNX Runtime executes here, with their counts.

    Raises:
        CheckpointError: The content is no ONNX file.
        WriteError: The folder for temporary files has no room for it.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "executed.onnx"
        with writing(path):  # ONNX Runtime does not report a full disk
            path.write_bytes(content)
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 3  # no warning that the file suits this machine only: that is intended
        opened(content, options)
        nodes = onnx.load(path).graph.node
    return dict(Counter(node.op_type for node in nodes))


def left_in_float(operators: Mapping[str, int]) -> dict[str, int]:
    """Return the operators of an audit that compute in floating point, or are not known to compute in integers."""
    return {
        name: count
        for name, count in operators.items()
        if name not in (*IN_INTEGERS, *MOVING) and count > ENDS.get(name, 0)
    }


def in_integers(operators: Mapping[str, int]) -> int:
    """Return how many operators of an audit compute in integers."""
    return sum(count for name, count in operators.items() if name in IN_INTEGERS)


def check_declared(in_float: Mapping[str, int], declared: Sequence[str]) -> None:
    """Check that the operators in floating point are exactly the declared ones.

    Args:
        in_float: Result of ``left_in_float``.
        declared: Their names.

    Raises:
        ArchitectureError: An operator is not declared, or a declared one does not occur.
    """
    undeclared = {name: count for name, count in in_float.items() if name not in declared}
    if undeclared:
        raise ArchitectureError(
            f"these operators stay in floating point: {undeclared}. If that is intended, set "
            f"deploy.float_operators: [{', '.join(sorted({*declared, *undeclared}))}]."
        )
    absent = [name for name in declared if name not in in_float]
    if absent:
        raise ArchitectureError(
            f"deploy.float_operators: {', '.join(absent)} does not stay in floating point in this network; remove it."
        )
