"""Stage latency: time a deployed network and the dense one in ONNX Runtime, in FP32 and INT8, in turns."""

from collections.abc import Mapping

from ehap.artifacts.datasets import input_shape
from ehap.artifacts.job import Job
from ehap.artifacts.pruned import check_order, load_model
from ehap.engines.exact_sums import recorded
from ehap.engines.onnxruntime import OnnxNetwork, floats_to_onnx
from ehap.evaluation import parameters
from ehap.graph.folding import fuse_norms
from ehap.latency.turns import in_turns, noise
from ehap.pruning.widening import widened
from ehap.records import Value, read_record
from ehap.runtime.progress import logger
from ehap.settings import Latency

Key = tuple[str, str]
DENSE, PRUNED, FP32, INT8 = "dense", "pruned", "FP32", "INT8"


def run(job: Job[Latency]) -> None:
    """Time {dense, pruned} × {FP32, INT8} in ONNX Runtime on the CPU.

    In FP32 the pruned network has the same form as its integers in the file ``onnx``: plain sums, and the widths of
    ``deployed``, the record of that file. The stage ``deploy_dense`` wrote the files of the dense network.
    """
    settings, checkpoint = job.settings, job.input("checkpoint")
    device = job.device("cpu")
    compact, metadata = load_model(checkpoint, job.identity)
    check_order(checkpoint, metadata)
    whole = widened(compact, read_record(job.input("deployed"))["settings"]["round_to"])
    contents = {
        (DENSE, FP32): job.input("dense_fp32").read_bytes(),
        (DENSE, INT8): job.input("dense_int8").read_bytes(),
        (PRUNED, FP32): floats_to_onnx(fuse_norms(whole), input_shape(job), stands_for=compact),
        (PRUNED, INT8): job.input("onnx").read_bytes(),
    }
    calls = {key: OnnxNetwork(content, settings.threads) for key, content in contents.items()}
    values = {"executed_parameters": Value(parameters(whole), "parameters"), **recorded()}
    for batch in settings.batches:
        images = noise(batch, input_shape(job), job.identity.seed)
        values |= _values(in_turns(calls, images, settings.rounds), batch)
    job.write_record(values, device)


def _values(times: Mapping[Key, float], batch: int) -> dict[str, Value]:
    """Return the medians for one batch size, and the speed of pruned INT8 relative to each other network."""
    values = {
        f"latency_{batch}.{network}_{precision}": Value(each, "ms") for (network, precision), each in times.items()
    }
    ours = times[PRUNED, INT8]
    for (network, precision), each in times.items():
        if (network, precision) != (PRUNED, INT8):
            values[f"times_as_fast_{batch}.{network}_{precision}"] = Value(each / ours, "times")
    slower = [f"{network} {precision}" for (network, precision), each in times.items() if each < ours]
    said = f"slower than {', '.join(slower)}" if slower else "faster than each of the others"
    logger.info("batch %d: the pruned network in INT8 takes %.3f ms, %s", batch, ours, said)
    return values
