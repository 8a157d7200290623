"""Weights that were made elsewhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ehap.errors import CheckpointError
from ehap.records import Job
from ehap.stages.dense import load_weights_

NESTED = ("state_dict", "model")  # under which others save the state dict
PARALLEL = "module."  # what DataParallel puts before every name
COUNTER = "num_batches_tracked"  # which files before torch 0.4.1 do not have


def load_given_(path: Path, network: nn.Module, job: Job) -> None:
    """Put weights made elsewhere into a new network of their architecture.

    Args:
        path: A safetensors file, or what torch.save has written of a state dict, alone or under ``state_dict`` or
            ``model``. Names and shapes are those of ``network``; a ``module.`` before all names is taken off.
        network: On the CPU.
        job: Whose network it is; messages name it.

    Raises:
        CheckpointError: The file is damaged or holds something else, other names, other shapes, NaN or Inf.
    """
    tensors = _read(path)
    if all(name.startswith(PARALLEL) for name in tensors):
        tensors = {name.removeprefix(PARALLEL): tensor for name, tensor in tensors.items()}
    counters = {name: tensor for name, tensor in network.state_dict().items() if name.endswith(COUNTER)}
    load_weights_(path, network, counters | tensors, job)
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise CheckpointError(f"{path}: {name} holds NaN or Inf; expected finite weights.")


def _read(path: Path) -> dict[str, Tensor]:
    try:
        found: Any = load_file(path)
    except OSError as error:
        raise CheckpointError(f"{path}: expected a file with weights ({error.strerror or error}).") from None
    except SafetensorError:
        try:
            found = torch.load(path, weights_only=True, map_location="cpu")
        except Exception as error:  # whatever a file of another kind makes torch raise
            raise CheckpointError(
                f"{path}: expected weights as safetensors or as a state dict of torch.save, but it is neither "
                f"({str(error).splitlines()[0][:120]})."
            ) from None
    for name in NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    named = isinstance(found, Mapping) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items()
    )
    if not named or not found:
        raise CheckpointError(f"{path}: expected a state dict, name to tensor, got {_described(found)}.")
    return dict(found)


def _described(found: Any) -> str:
    if isinstance(found, Mapping):
        return f"a mapping with the keys {', '.join(map(str, list(found)[:5])) or '(none)'}"
    return f"a {type(found).__name__}"
