"""Stage deploy_dense: export the dense network as ONNX files for the latency comparison."""

from ehap.artifacts.datasets import input_shape
from ehap.artifacts.dense import load_dense
from ehap.artifacts.job import Job
from ehap.data import DATASETS
from ehap.engines.onnxruntime import audit, check_declared, floats_to_onnx, left_in_float, to_onnx
from ehap.graph.folding import fuse_norms
from ehap.quantization import pack_on_noise, unpack
from ehap.runtime.files import write_atomically


def run(job: Job[None]) -> None:
    """Write the dense network as an ONNX file in FP32 and as one in INT8.

    The integers are calibrated on noise, since latency does not depend on their values. Do not deploy this file.

    Raises:
        ArchitectureError: ONNX Runtime would execute an operator in floating point.
        MismatchError: A file gives other outputs than its network.
    """
    job.device("cpu")
    network = load_dense(job.input("checkpoint"), job.identity).eval()
    in_floats = floats_to_onnx(fuse_norms(network), input_shape(job), stands_for=network)
    packed, settings = pack_on_noise(network, input_shape(job), DATASETS[job.identity.dataset])
    in_integers = to_onnx(unpack(packed, network, settings, input_shape(job)), input_shape(job))
    check_declared(left_in_float(audit(in_integers)), declared=())
    write_atomically(job.output("fp32"), in_floats)
    write_atomically(job.output("int8"), in_integers)
