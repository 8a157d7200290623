"""No room for temporary files where ONNX Runtime writes what it executes."""

import subprocess
import sys

AUDIT = """
import resource, sys
import numpy
from onnx import TensorProto, helper, numpy_helper
from ehap.errors import EhapError
from ehap.engines.onnxruntime import audit

one, other = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64]) for name in "xy")
weights = numpy_helper.from_array(numpy.ones((64, 64), "float32"), "w")
graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [one], [other], [weights])
content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
print(audit(content))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    audit(content)
except EhapError as error:
    sys.exit(f"error: {error}")
"""


def test_an_audit_without_room_says_so_and_not_that_the_file_is_wrong() -> None:
    done = subprocess.run([sys.executable, "-c", AUDIT], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == "{'MatMul': 1}\n"
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: /")
    assert "executed.onnx: it cannot be written (File too large); raise the limit on the size of files" in line
