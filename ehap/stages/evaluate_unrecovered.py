"""Stage evaluate_unrecovered: accuracy right after pruning, and with BatchNorm recalibrated."""

from ehap.artifacts.datasets import load_data
from ehap.artifacts.job import Job
from ehap.artifacts.pruned import load_model
from ehap.evaluation import accuracy
from ehap.records import Value
from ehap.training import RECALIBRATION_IMAGES, recalibrate_


def run(job: Job[None]) -> None:
    """Measure the pruned network, then again after its BatchNorms have seen training images, without labels."""
    device = job.device()
    data = load_data(job, device)
    network, _ = load_model(job.input("pruned"), job.identity)
    network.to(device)
    before = accuracy(network, data.test, data.info)
    recalibrate_(network, data.train[0], data.info, RECALIBRATION_IMAGES, job.identity.seed)
    values = {
        "pruned_accuracy": Value(before, "percent"),
        "recalibrated_accuracy": Value(accuracy(network, data.test, data.info), "percent"),
    }
    job.write_record(values, device)
