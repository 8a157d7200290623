"""Files of weights with the architecture of their network, and the dense networks among them.

Kept apart from ``pruned``: pretraining and traces do not depend on the surgery, so an edit there reruns neither.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ehap.data import DATASETS
from ehap.errors import CheckpointError, NumericsError
from ehap.models import build_model
from ehap.records import Identity, read_tensors, write_tensors


def save_model(path: Path, model: nn.Module, metadata: Mapping[str, Any]) -> None:
    """Write the weights of a dense or pruned network with its ``architecture`` as metadata.

    Raises:
        NumericsError: A weight is NaN or infinite.
    """
    for name, tensor in model.state_dict().items():
        if not tensor.isfinite().all():
            raise NumericsError(f"{name} holds NaN or Inf after training; lower the learning rate.")
    write_tensors(path, model.state_dict(), metadata)


def architecture(identity: Identity, kept: Mapping[str, list[int]] | None) -> dict[str, Any]:
    """Return the metadata from which a network is built again; ``kept`` is None for a dense one."""
    return {"model": identity.model, "dataset": identity.dataset, "seed": identity.seed, "kept": kept}


def load_dense(path: Path, identity: Identity) -> nn.Module:
    """Build the dense network of a weights file, on the CPU.

    Raises:
        CheckpointError: The file is missing, damaged, pruned, or of another cell.
    """
    tensors, metadata = read_tensors(path)
    check_cell(path, metadata, identity)
    if metadata["kept"] is not None:
        raise CheckpointError(f"{path}: expected a dense network, got a pruned one; give the one from pretrain.")
    model = blank_dense(identity)
    load_weights_(path, model, tensors, identity)
    return model


def blank_dense(identity: Identity) -> nn.Module:
    """Build the dense network of a cell with uninitialised weights."""
    return build_model(identity.model, DATASETS[identity.dataset].classes)


def load_weights_(path: Path, model: nn.Module, tensors: Mapping[str, Tensor], identity: Identity) -> None:
    """Put tensors into a network of their architecture.

    Raises:
        CheckpointError: A tensor is missing, unknown or of another shape.
    """
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        first = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: its tensors do not fit {identity.model} ({first}).") from None


def check_cell(path: Path, metadata: Mapping[str, Any], identity: Identity) -> None:
    """Raise CheckpointError unless a file's metadata names the model, dataset and seed of the cell."""
    found = tuple(metadata.get(name) for name in ("model", "dataset", "seed"))
    if found != (identity.model, identity.dataset, identity.seed):
        raise CheckpointError(
            f"{path}: expected weights of {identity.model} on {identity.dataset}, seed {identity.seed}, got weights of "
            f"{found[0]} on {found[1]}, seed {found[2]}; give the file of that cell, or delete this one and run the "
            "workflow again."
        )
