"""What stages read and write together: prepared data, weights with their architecture, training histories."""

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ehap.data import DATASETS, DatasetInfo, Split
from ehap.errors import CheckpointError, DataError
from ehap.models import build_model
from ehap.pruning import prune
from ehap.records import Job, read_tensors, write_tensors
from ehap.runtime import write_atomically
from ehap.training import Epoch


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


def save_model(path: Path, model: nn.Module, job: Job, kept: Mapping[str, list[int]] | None = None) -> None:
    """Write the weights of a dense or pruned network with what is needed to build it again."""
    write_tensors(path, model.state_dict(), architecture(job, kept))


def load_model(path: Path, job: Job) -> tuple[nn.Module, dict[str, list[int]] | None]:
    """Build the network that a weights file holds, on the CPU, and return it with its kept channels (None: dense).

    Raises:
        CheckpointError: The file is missing, damaged, or holds another model or dataset than the job's.
    """
    tensors, metadata = read_tensors(path)
    model = build_architecture(path, metadata, job)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: its tensors do not fit {job.model} ({error}).") from None
    return model, metadata["kept"]


def architecture(job: Job, kept: Mapping[str, list[int]] | None) -> dict[str, Any]:
    """Return the metadata from which ``build_architecture`` builds the network."""
    return {"model": job.model, "dataset": job.dataset, "seed": job.seed, "kept": kept}


def build_architecture(path: Path, metadata: Mapping[str, Any], job: Job) -> nn.Module:
    """Build the dense or pruned network that a file's metadata describes; its weights are not initialised.

    Raises:
        CheckpointError: The metadata names another model or dataset than the job's.
    """
    found = metadata.get("model"), metadata.get("dataset")
    if found != (job.model, job.dataset):
        raise CheckpointError(
            f"{path}: expected weights of {job.model} on {job.dataset}, got weights of {found[0]} on {found[1]}; "
            "give the file of that cell, or delete this one and run the workflow again."
        )
    model = build_model(job.model, DATASETS[job.dataset].classes)
    return model if metadata["kept"] is None else prune(model, metadata["kept"])


def write_history(path: Path, history: list[Epoch]) -> None:
    """Write one CSV row an epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Epoch)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(epoch) for epoch in history)
    write_atomically(path, text.getvalue().encode())
