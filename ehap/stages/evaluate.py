"""Stage evaluate: measure accuracy, parameters, FLOPs and file size of one network, from its file."""

from collections.abc import Mapping
from typing import Any

from ehap.artifacts.datasets import input_shape, load_data
from ehap.artifacts.dense import load_weights_
from ehap.artifacts.job import Job
from ehap.artifacts.pruned import blank_model
from ehap.evaluation import accuracy, flops, parameters
from ehap.records import Value, read_record, read_tensors
from ehap.settings.scheme import FLOAT

FLOAT_BYTES = 4


def run(job: Job[None]) -> None:
    """Measure the network in ``weights``; ``training`` is the record of the stage that trained it."""
    identity, weights, training = job.identity, job.input("weights"), job.input("training")
    device = job.device()
    images = load_data(job, device)
    trained = read_record(training)
    tensors, metadata = read_tensors(weights)
    network = blank_model(weights, metadata, identity)
    size = {
        "flops": Value(flops(network, input_shape(job)), "flop"),
        "parameters": Value(parameters(network), "parameters"),
    }
    if identity.scheme and metadata.get("bits") != FLOAT:
        from ehap.artifacts.quantized import load_quantized  # imports torchao; other jobs need not wait for it

        quantized = load_quantized(weights, training, identity)
        numbers = sum(tensor.numel() for tensor in quantized.packed.values())
        quantized.compact.to(device)
        network = quantized.simulated()
    else:
        numbers = sum(tensor.numel() for tensor in tensors.values()) + parameters(network)
        load_weights_(weights, network, tensors, identity)
        network.to(device)
    measured = accuracy(network, images.test, images.info)
    values = {
        **size,
        "accuracy": Value(measured, "percent"),
        "best_accuracy": Value(_best(trained["values"], measured), "percent"),
        "file_size": Value(weights.stat().st_size, "bytes"),
        # With the optimizer's momentum beside the parameters, and integers as float32.
        "published_size": Value(FLOAT_BYTES * numbers, "bytes"),
    }
    job.write_record(values, device)


def _best(trained: Mapping[str, Any], measured: float) -> float:
    """Return the best epoch's accuracy; for the last epoch, the packed file counts, which may differ."""
    best, last = (float(trained[name]["value"]) for name in ("best_accuracy", "accuracy"))
    return max(best, measured) if best > last else measured
