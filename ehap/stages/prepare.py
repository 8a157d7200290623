"""Stage prepare: a dataset, checked, to one file of tensors."""

from pathlib import Path

import torch

from ehap.data import read_dataset
from ehap.records import Job, Value, write_record, write_tensors
from ehap.settings import Machine, Prepare


def run(data: Path, record: Path, job: Job, settings: Prepare, machine: Machine) -> None:
    """Read the dataset (checksums verified), keep the images that the run uses, write them to ``data``."""
    splits = read_dataset(job.dataset, Path(machine.data_folder), machine.download)
    counts = (settings.train_images, settings.test_images)
    (train, train_labels), (test, test_labels) = (
        (images[:count], labels[:count]) for (images, labels), count in zip(splits, counts, strict=True)
    )
    tensors = {"train_images": train, "train_labels": train_labels, "test_images": test, "test_labels": test_labels}
    write_tensors(data, tensors, {"dataset": job.dataset})
    values = {"train_images": Value(len(train), "images"), "test_images": Value(len(test), "images")}
    write_record(record, job, values, settings, torch.device("cpu"))
