"""Records (JSON) and weights (safetensors), the files that pass between stages."""

import contextlib
import hashlib
import json
import math
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ehap.errors import CheckpointError, DataError, NumericsError
from ehap.runtime.device import device_name, instruction_sets
from ehap.runtime.files import write_atomically

CHECKSUM = "sha256"
LIBRARIES = ("torch", "torchvision", "torchao")
ENGINES = ("onnx", "onnxruntime")  # said by the jobs that load them
EXACT_SUMS = ("plain session", "session.x64quantprecision")
"""How sessions of ONNX Runtime have exact sums, by the value ``exact_sums_option`` of a record, 0 or 1."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The stage, the point of the grid and the code of a job.

    code: Digest of the script and the modules it imports; empty in a job that was started by hand.
    """

    stage: str
    dataset: str
    model: str = ""
    seed: int = 0
    method: str = ""
    curvature: str = ""
    scheme: str = ""
    code: str = ""
    started: float = field(default_factory=time.monotonic, compare=False)

    def title(self) -> str:
        """Return the name of the cell in pictures."""
        return f"{self.model} on {self.dataset}, seed {self.seed}"


@dataclass(frozen=True)
class Value:
    """A number with its unit."""

    value: float
    unit: str


Proof = Mapping[str, float] | str
"""Result of a check on examples, in numbers; or the reason why there was none."""


def proof(found: Any) -> Proof:
    """Return a dataclass of numbers, such as an Agreement, as a record holds it."""
    return dict(asdict(found))


def write_record(
    path: Path,
    identity: Identity,
    values: Mapping[str, Value],
    settings: Any,
    device: torch.device,
    proofs: Mapping[str, Proof] | None = None,
) -> None:
    """Write one JSON record: values with units, settings, seed, code digest, device, versions, duration.

    For a CPU, the record also holds the instruction sets: processors of one name differ in them.

    Args:
        path: Path of the file.
        identity: Cell, stage and code.
        values: Results of the stage.
        settings: A dataclass, or None.
        device: Device of the computation.
        proofs: Comparisons made on the way, by name; see ``ehap.graph``.

    Raises:
        NumericsError: A value is NaN or infinite.
    """
    for name, item in values.items():
        if not math.isfinite(item.value):
            raise NumericsError(f"{path}: {name} is {item.value}; expected a finite number of {item.unit}.")
    cell = {key: value for key, value in asdict(identity).items() if key not in ("code", "started", "stage")}
    record = {
        "stage": identity.stage,
        **{key: value for key, value in cell.items() if value != ""},
        "values": {name: asdict(item) for name, item in values.items()},
        **({"proofs": proofs} if proofs else {}),
        "settings": asdict(settings) if settings is not None else {},
        "code": identity.code,
        "device": device_name(device),
        **({"instructions": instruction_sets()} if device.type == "cpu" else {}),
        "versions": _versions((*LIBRARIES, *filter(sys.modules.__contains__, ENGINES))),
        "duration_s": round(time.monotonic() - identity.started, 3),
    }
    write_atomically(path, (json.dumps(record, indent=2) + "\n").encode())


def _versions(libraries: Iterable[str]) -> dict[str, str]:
    """Return the versions of those that are installed: trainings need no torchao."""
    found = {}
    for name in libraries:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def read_record(path: Path) -> dict[str, Any]:
    """Read one JSON record.

    Raises:
        DataError: It is missing or not JSON.
    """
    try:
        record: dict[str, Any] = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: expected a record in JSON ({error}); run the workflow again to rebuild it.") from None
    return record


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON metadata as one safetensors file with a checksum, atomically."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # One key: safetensors writes several in random order, and the same weights should be the same bytes.
    whole = {**metadata, CHECKSUM: _checksum(plain, metadata)}
    write_atomically(path, save(plain, {"ehap": json.dumps(whole, sort_keys=True)}))


REBUILD = "delete it and run the workflow again to rebuild it"


def read_tensors(path: Path, advice: str = REBUILD) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors and metadata of a safetensors file.

    Args:
        path: The file.
        advice: What to do where it is damaged.

    Raises:
        CheckpointError: The file is missing, truncated, no safetensors file, without a checksum, or has another
            checksum.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            metadata = json.loads((file.metadata() or {}).get("ehap", "{}"))
    except FileNotFoundError:
        raise CheckpointError(f"expected a weights file at {path}, but there is none.") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file ({_first_line(error)}); {advice}.") from None
    if CHECKSUM not in metadata:
        raise CheckpointError(
            f"{path}: expected a file that this workflow has written, with a checksum, got one without; give weights "
            "made elsewhere as pretrain.weights."
        )
    if metadata.pop(CHECKSUM) != _checksum(tensors, metadata):
        raise CheckpointError(f"{path}: wrong checksum; the file is damaged or was edited: {advice}.")
    return tensors, metadata


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the metadata, and of names, types, shapes and bytes of the tensors."""
    found = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
