"""Weights that were made elsewhere: state dicts beside other things, under any key, of a network in wrappers."""

import argparse
import pathlib
import re
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.serialization import safe_globals

from ehap.artifacts.dense import load_weights_
from ehap.errors import CheckpointError
from ehap.records import Identity

WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Parts of names that DataParallel, averages of weights, torch.compile and FSDP add."""
AVERAGED = "n_averaged"  # a counter beside the weights, of torch.optim.swa_utils
ALONE = "save its state dict alone: torch.save(network.state_dict(), file)"
UNPICKLER = "WeightsUnpickler error:"  # torch gives the reason behind it
BLOCKED = re.compile(r"GLOBAL ([\w.]+)")
COUNTER = "num_batches_tracked"  # files before torch 0.4.1 have none


def load_given_(path: Path, network: nn.Module, identity: Identity) -> None:
    """Put weights made elsewhere into a new network of their architecture.

    Args:
        path: A safetensors file, or a file of torch.save with a state dict, alone or beside other things; see
            ``read_state``. Names and shapes are those of ``network``; wrappers may have added to the names.
        network: The network, on the CPU.
        identity: Cell of the network, for messages.

    Raises:
        CheckpointError: The file is damaged or holds something else, other names, other shapes, NaN or Inf.
    """
    counters = {name: tensor for name, tensor in network.state_dict().items() if name.endswith(COUNTER)}
    tensors = read_state(path, network.state_dict().keys() - counters.keys())
    load_weights_(path, network, counters | tensors, identity)
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise CheckpointError(f"{path}: {name} holds NaN or Inf; expected finite weights.")


def read_state(path: Path, wanted: set[str]) -> dict[str, Tensor]:
    """Return the state dict in a file of safetensors or torch.save, under the names of the network.

    Args:
        path: Path of the file. Epoch numbers, optimizers and NumPy values may stand beside the state dict.
        wanted: Names that the network needs. They choose among several state dicts.

    Raises:
        CheckpointError: The file is damaged, holds no state dict or several, or can only be loaded by running code.
    """
    found = _loaded(path)
    states = {key: _unwrapped(state, wanted) for key, state in _states(found)}
    if not states:
        raise CheckpointError(f"{path}: expected a state dict, name to tensor, got {_described(found)}.")
    fitting = [key for key, state in states.items() if wanted <= state.keys()]
    if len(fitting) > 1:
        named = ", ".join(key or "beside them" for key in fitting)
        raise CheckpointError(f"{path}: it holds the weights of several such networks ({named}); {ALONE}.")
    return states[fitting[0]] if fitting else max(states.values(), key=len)


def _loaded(path: Path) -> Any:
    try:
        return load_file(path)
    except OSError as error:
        raise CheckpointError(f"{path}: expected a file with weights ({error.strerror or error}).") from None
    except SafetensorError:
        pass
    try:
        with safe_globals(_harmless()):
            return torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises many kinds for files of other kinds
        said, kind = str(error), type(error).__name__
    blocked = BLOCKED.search(said)
    if blocked:
        raise CheckpointError(
            f"{path}: loading it could run code: it holds {blocked[1]}, of a whole network or beside one; {ALONE}."
        )
    if "TorchScript" in said:
        raise CheckpointError(f"{path}: it holds a scripted network; {ALONE}.")
    reason = said.rpartition(UNPICKLER)[2].strip() or kind
    first = re.sub(r"\x1b\[[0-9;]*m|[^ -~]", "", reason.splitlines()[0])[:120]
    raise CheckpointError(
        f"{path}: expected weights as safetensors or as a state dict of torch.save, but it is neither "
        f"({kind}: {first})."
    )


def _harmless() -> list[Any]:
    """Return types that others save beside weights and that run no code; NumPy's under names of versions 1 and 2."""
    number, array = numpy.float64(0).__reduce__()[0], numpy.zeros(1).__reduce__()[0]
    for_numpy = [
        (what, f"numpy.{core}.multiarray.{name}")
        for what, name in ((number, "scalar"), (array, "_reconstruct"))
        for core in ("core", "_core")
    ]
    kinds = {type(numpy.dtype(kind)) for kind in numpy.typecodes["All"]}
    plain = [argparse.Namespace, types.SimpleNamespace, pathlib.PosixPath, pathlib.PurePosixPath]
    return [*for_numpy, numpy.ndarray, numpy.dtype, *kinds, *plain]


def _states(found: Any, where: str = "") -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield each mapping of names to tensors in a loaded object, with the keys that lead to it."""
    if not isinstance(found, Mapping):
        return
    tensors = {name: _tensor(value) for name, value in found.items() if isinstance(name, str)}
    state = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    if state:
        yield where, state
    for key, value in found.items():
        yield from _states(value, f"{where}.{key}" if where else str(key))


def _tensor(value: object) -> Tensor | None:
    if isinstance(value, numpy.ndarray) and value.dtype.kind in "fiu":
        return torch.from_numpy(value)
    return value if isinstance(value, Tensor) else None


def _unwrapped(state: dict[str, Tensor], wanted: set[str]) -> dict[str, Tensor]:
    """Return a state dict without the parts of names that wrappers add, and without a prefix that all names share."""
    own = {part for name in wanted for part in name.split(".")}
    wrappers = set(WRAPPERS) - own
    named = {name: tensor for name, tensor in state.items() if name != AVERAGED or name in wanted}
    short = {".".join(part for part in name.split(".") if part not in wrappers): name for name in named}
    if len(short) == len(named):  # no two become one
        named = {name: named[before] for name, before in short.items()}
    prefixes = {name.partition(".")[0] for name in named}
    if len(prefixes) == 1 and not any(name.partition(".")[0] in prefixes for name in wanted):
        named = {name.partition(".")[2]: tensor for name, tensor in named.items()}
    return named


def _described(found: Any) -> str:
    if isinstance(found, Mapping):
        return f"a mapping with the keys {', '.join(map(str, list(found)[:5])) or '(none)'}"
    return f"a {type(found).__name__}"
