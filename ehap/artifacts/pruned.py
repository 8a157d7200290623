"""Dense or pruned networks, read from their files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ehap.artifacts.dense import blank_dense, check_cell, load_weights_
from ehap.errors import CheckpointError
from ehap.pruning import prune
from ehap.records import Identity, read_tensors


def load_model(path: Path, identity: Identity) -> tuple[nn.Module, dict[str, Any]]:
    """Build the network of a weights file, on the CPU, and return it with its metadata.

    Raises:
        CheckpointError: The file is missing, damaged, or of another cell.
    """
    tensors, metadata = read_tensors(path)
    model = blank_model(path, metadata, identity)
    load_weights_(path, model, tensors, identity)
    return model, metadata


def check_order(path: Path, metadata: Mapping[str, Any]) -> None:
    """Raise CheckpointError if unions are in the order of the published code: their readers get other channels."""
    if metadata.get("order", "sorted") != "sorted":
        raise CheckpointError(
            f"{path}: expected unions in sorted order, got those of prune.rule as_published; such a network can be "
            "trained and tested, but it cannot be reconstructed or deployed."
        )


def blank_model(path: Path, metadata: Mapping[str, Any], identity: Identity) -> nn.Module:
    """Build the dense or pruned network of a file's metadata, with uninitialised weights.

    Raises:
        CheckpointError: The metadata names another cell.
    """
    check_cell(path, metadata, identity)
    model = blank_dense(identity)
    kept = metadata["kept"]
    return model if kept is None else prune(model, kept, metadata.get("order", "sorted"))
