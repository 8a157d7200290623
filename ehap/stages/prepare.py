"""Stage prepare: a dataset, checked, to one file of tensors."""

from pathlib import Path

import torch

from ehap.artifacts.job import Job
from ehap.data import read_dataset
from ehap.records import Value, write_tensors
from ehap.settings import Prepare


def run(job: Job[Prepare]) -> None:
    """Read the dataset, verify its checksums, and write the images that the run uses to ``data``."""
    settings, dataset = job.settings, job.identity.dataset
    splits = read_dataset(dataset, Path(job.machine.data_folder), job.machine.download)
    counts = (settings.train_images, settings.test_images)
    (train, train_labels), (test, test_labels) = (
        (images[:count], labels[:count]) for (images, labels), count in zip(splits, counts, strict=True)
    )
    tensors = {"train_images": train, "train_labels": train_labels, "test_images": test, "test_labels": test_labels}
    write_tensors(job.output("data"), tensors, {"dataset": dataset})
    values = {"train_images": Value(len(train), "images"), "test_images": Value(len(test), "images")}
    job.write_record(values, torch.device("cpu"))
