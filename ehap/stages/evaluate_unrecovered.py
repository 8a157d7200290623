"""Stage evaluate_unrecovered: accuracy right after pruning, and with BatchNorm recalibrated."""

from pathlib import Path

from ehap.artifacts.datasets import load_data
from ehap.artifacts.pruned import load_model
from ehap.evaluation import accuracy
from ehap.records import Job, Value, write_record
from ehap.runtime.device import choose_device
from ehap.settings import Machine
from ehap.training import RECALIBRATION_IMAGES, recalibrate_


def run(data: Path, pruned: Path, record: Path, job: Job, machine: Machine) -> None:
    """Measure the pruned network as it is, and after its BatchNorms have seen training images, without labels."""
    device = choose_device(machine.device, machine.threads)
    images = load_data(data, job, device)
    network, _ = load_model(pruned, job)
    network.to(device)
    as_it_is = accuracy(network, images.test, images.info)
    recalibrate_(network, images.train[0], images.info, RECALIBRATION_IMAGES, job.seed)
    values = {
        "pruned_accuracy": Value(as_it_is, "percent"),
        "recalibrated_accuracy": Value(accuracy(network, images.test, images.info), "percent"),
    }
    write_record(record, job, values, None, device)
