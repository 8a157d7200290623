"""The prepared dataset of a run, read from its file."""

from dataclasses import dataclass
from typing import Any

import torch

from ehap.artifacts.job import Job
from ehap.data import DATASETS, DatasetInfo, Split
from ehap.errors import DataError
from ehap.records import read_tensors


@dataclass(frozen=True)
class Data:
    """A prepared dataset on a device: images (N, 3, H, W) uint8 and labels (N,) int64 of both splits."""

    train: Split
    test: Split
    info: DatasetInfo


def input_shape(job: Job[Any]) -> tuple[int, int, int]:
    """Return (C, H, W) of the images of the cell's dataset."""
    return DATASETS[job.identity.dataset].input_shape


def load_data(job: Job[Any], device: torch.device) -> Data:
    """Read the input ``data`` of a job, which the prepare stage wrote.

    Raises:
        CheckpointError: The file is missing or damaged.
        DataError: The file holds another dataset than the job's, or images of another shape.
    """
    path, wanted = job.input("data"), job.identity.dataset
    tensors, metadata = read_tensors(path)
    if metadata.get("dataset") != wanted:
        raise DataError(f"{path}: expected the dataset {wanted}, got {metadata.get('dataset')}.")
    info = DATASETS[wanted]
    shapes = {tuple(tensors[f"{split}_images"].shape[1:]) for split in ("train", "test")}
    if shapes != {info.input_shape}:
        raise DataError(
            f"{path}: expected images of shape {info.input_shape}, got {' and '.join(map(str, sorted(shapes)))}; "
            "run the stage prepare again."
        )
    on_device = {name: tensor.to(device) for name, tensor in tensors.items()}
    train = on_device["train_images"], on_device["train_labels"]
    return Data(train, (on_device["test_images"], on_device["test_labels"]), info)
