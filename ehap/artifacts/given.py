"""Weights that were made elsewhere."""

from pathlib import Path

from torch import nn

from ehap.artifacts.dense import load_weights_
from ehap.artifacts.foreign import read_state
from ehap.errors import CheckpointError
from ehap.records import Job

COUNTER = "num_batches_tracked"  # which files before torch 0.4.1 do not have


def load_given_(path: Path, network: nn.Module, job: Job) -> None:
    """Put weights made elsewhere into a new network of their architecture.

    Args:
        path: A safetensors file, or what torch.save has written of a state dict, alone or beside other things; see
            ``read_state``. Names and shapes are those of ``network``, but for what wrappers put into names.
        network: On the CPU.
        job: Whose network it is; messages name it.

    Raises:
        CheckpointError: The file is damaged or holds something else, other names, other shapes, NaN or Inf.
    """
    counters = {name: tensor for name, tensor in network.state_dict().items() if name.endswith(COUNTER)}
    tensors = read_state(path, network.state_dict().keys() - counters.keys())
    load_weights_(path, network, counters | tensors, job)
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise CheckpointError(f"{path}: {name} holds NaN or Inf; expected finite weights.")
