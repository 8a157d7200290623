"""Stage evaluate: accuracy, parameters, FLOPs and file size of one network, from its file."""

from pathlib import Path

from ehap.evaluation import accuracy, flops, parameters
from ehap.models import INPUT_SHAPE
from ehap.records import Job, Value, read_record, read_tensors, write_record
from ehap.runtime import choose_device
from ehap.settings import Machine, Qat
from ehap.stages.dense import load_weights_
from ehap.stages.prepared import load_data
from ehap.stages.pruned import blank_model


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
    if job.scheme:
        from ehap.quantization import unpack  # imports torchao, which the other jobs need not wait for

        # The settings that the packed integers belong to stand in the record of the qat stage.
        network = unpack(tensors, network.to(device), Qat(**trained["settings"]), INPUT_SHAPE)
    else:
        load_weights_(weights, network, tensors, job)
        network.to(device)
    values = {
        **size,
        "accuracy": Value(accuracy(network, images.test, images.info), "percent"),
        "best_accuracy": Value(trained["values"]["best_accuracy"]["value"], "percent"),
        "file_size": Value(weights.stat().st_size, "bytes"),
    }
    write_record(record, job, values, None, device)
