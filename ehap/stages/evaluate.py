"""Stage evaluate: measure accuracy, parameters, FLOPs and file size of one network, from its file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ehap.artifacts.datasets import load_data
from ehap.artifacts.dense import load_weights_
from ehap.artifacts.pruned import blank_model
from ehap.evaluation import accuracy, flops, parameters
from ehap.models import INPUT_SHAPE
from ehap.records import Job, Value, read_record, read_tensors, write_record
from ehap.runtime.device import choose_device
from ehap.settings import Machine
from ehap.settings.qat import FLOAT

FLOAT_BYTES = 4


def run(data: Path, weights: Path, training: Path, record: Path, job: Job, machine: Machine) -> None:
    """Measure the network in ``weights``; ``training`` is the record of the stage that trained it."""
    device = choose_device(machine.device, machine.threads)
    images = load_data(data, job, device)
    trained = read_record(training)
    tensors, metadata = read_tensors(weights)
    network = blank_model(weights, metadata, job)
    size = {
        "flops": Value(flops(network, INPUT_SHAPE), "flop"),
        "parameters": Value(parameters(network), "parameters"),
    }
    if job.scheme and metadata.get("bits") != FLOAT:
        from ehap.artifacts.quantized import load_quantized  # imports torchao; other jobs need not wait for it

        quantized = load_quantized(weights, training, job)
        numbers = sum(tensor.numel() for tensor in quantized.packed.values())
        quantized.compact.to(device)
        network = quantized.simulated()
    else:
        numbers = sum(tensor.numel() for tensor in tensors.values()) + parameters(network)
        load_weights_(weights, network, tensors, job)
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
    write_record(record, job, values, None, device)


def _best(trained: Mapping[str, Any], measured: float) -> float:
    """Return the best epoch's accuracy; for the last epoch, the packed file counts, which may differ."""
    best, last = (float(trained[name]["value"]) for name in ("best_accuracy", "accuracy"))
    return max(best, measured) if best > last else measured
