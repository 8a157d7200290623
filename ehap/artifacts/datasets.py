"""The prepared dataset of a run, read from its file."""

from dataclasses import dataclass
from pathlib import Path

import torch

from ehap.data import DATASETS, DatasetInfo, Split
from ehap.errors import DataError
from ehap.records import Job, read_tensors


@dataclass(frozen=True)
class Data:
    """A prepared dataset on a device: images (N, 3, 32, 32) uint8 and labels (N,) int64 of both splits."""

    train: Split
    test: Split
    info: DatasetInfo


def load_data(path: Path, job: Job, device: torch.device) -> Data:
    """Read what the prepare stage wrote.

    Raises:
        CheckpointError: The file is missing or damaged.
        DataError: It holds another dataset than the job's.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("dataset") != job.dataset:
        raise DataError(f"{path}: expected the dataset {job.dataset}, got {metadata.get('dataset')}.")
    on_device = {name: tensor.to(device) for name, tensor in tensors.items()}
    train = on_device["train_images"], on_device["train_labels"]
    return Data(train, (on_device["test_images"], on_device["test_labels"]), DATASETS[job.dataset])
