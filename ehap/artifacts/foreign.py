"""Files that should hold a network: the tensors and metadata of one, or what another file is and what to do with it."""

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from ehap.errors import CheckpointError, ReadError
from ehap.records import CHECKSUM, read_tensors

ZIP, PICKLE, PROTOBUF = b"PK\x03\x04", b"\x80", b"\x08"
HEADER = 8
"""Bytes before the header of a safetensors file, which is JSON."""


def network_file(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the metadata of a file that this package has written.

    Raises:
        CheckpointError: The file is missing, damaged, or something else; the message says what to do.
        ReadError: It cannot be read now.
    """
    _check_kind(path, _start(path))
    _check_metadata(path)
    try:
        return read_tensors(path)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: it is damaged or was edited ({_reason(error, path)}); {_ANEW}.") from None
    except Exception as error:  # whatever types and sizes of tensors raise that only a damaged header names
        raise CheckpointError(f"{path}: it is damaged ({type(error).__name__}); {_ANEW}.") from None


_ANEW = "take a copy of it, pull it again, or save the network again with ehap.save"
_INTO = "then save the network with ehap.save"


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEADER + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(f"{path}: expected a file with a network, but there is none.") from None
    except IsADirectoryError:
        raise CheckpointError(f"{path}: expected a file with a network, got a folder.") from None
    except OSError as error:
        raise ReadError(f"{path}: it cannot be read ({error.strerror}); mend that, then try again.") from None


def _check_kind(path: Path, start: bytes) -> None:
    if start[HEADER:] == b"{":
        return
    if start.startswith((ZIP, PICKLE)):
        raise CheckpointError(
            f"{path}: it is a file of torch.save, or another zip or pickle, which may hold code; load the state dict "
            f"in it into the network, model.load_state_dict(torch.load(path, weights_only=True)), {_INTO}."
        )
    if path.suffix == ".onnx" or start.startswith(PROTOBUF):
        raise CheckpointError(
            f"{path}: it is an ONNX file, or another protocol buffer, made for engines; give the file of ehap.save in "
            "which its network was saved."
        )
    raise CheckpointError(f"{path}: expected a safetensors file of ehap.save or of a run, got another kind of file.")


def _check_metadata(path: Path) -> None:
    """Raise unless a file is safetensors with our metadata."""
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("ehap")
        metadata = None if text is None else json.loads(text, parse_constant=_refused)
    except Exception as error:  # safetensors, json and the decoding of texts raise several kinds
        raise CheckpointError(f"{path}: it is no whole safetensors file ({_reason(error, path)}); {_ANEW}.") from None
    if metadata is None:
        raise CheckpointError(
            f"{path}: it holds weights only, without the graph of a network; load them into the network, "
            f"model.load_state_dict(safetensors.torch.load_file(path)), {_INTO}."
        )
    if not isinstance(metadata, dict) or not isinstance(metadata.get(CHECKSUM), str):
        raise CheckpointError(f"{path}: its metadata has no checksum; {_ANEW}.")


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no finite number")


def _reason(error: Exception, path: Path) -> str:
    if "checksum" in str(error):
        return "wrong checksum"
    return " ".join(str(error).replace(str(path), "").split())[:120]
