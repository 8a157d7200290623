"""The content of a job's inputs and outputs, by which a later start knows whether a result belongs to its plan."""

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

from ehap.errors import SourceError
from ehap.runtime.files import readable, sha256_of, write_atomically

KEY, CHECKSUM = "sources", "checksum"
RECORD, BESIDE = "record.json", "sources.json"
LIBRARIES = ("torch", "torchvision", "torchao", "onnx", "onnxruntime", "numpy", "scipy", "pandas")


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The origin of a job's outputs.

    inputs: SHA-256 of each file that the job read, by path. settings: As the command line had them. code: Digest of
    the code that ran, with the pinned libraries. libraries: Versions that were installed. outputs: SHA-256 of each
    file that the job wrote, by path, but for the one in which this stands.
    """

    inputs: Mapping[str, str]
    settings: Any
    code: str
    libraries: Mapping[str, str]
    outputs: Mapping[str, str]


def hashed(paths: Iterable[Path]) -> dict[str, str]:
    """Return the SHA-256 of each file, by path.

    Raises:
        SourceError: One of them is not there.
    """
    try:
        return {str(path): sha256_of(path) for path in paths}
    except FileNotFoundError as error:
        raise SourceError(f"{error.filename}: expected a file there; run the workflow, which makes it.") from None


def installed() -> dict[str, str]:
    """Return the versions of the libraries that results depend on, as installed."""
    found = {"python": python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def holder(outputs: Iterable[str]) -> str | None:
    """Return the output of a job that holds its sources: its record, or a file of its own."""
    return next((path for path in outputs if path.endswith((RECORD, BESIDE))), None)


def beside(part: Path | str) -> str:
    """Return the file with the sources of a part."""
    return str(Path(part).with_suffix(f".{BESIDE}"))


def write_sources(path: Path, sources: Sources) -> None:
    """Add the sources to the record at ``path``, or write a new file if there is none; with a checksum of all."""
    content = json.loads(path.read_text()) if path.exists() else {}
    content = {name: value for name, value in content.items() if name != CHECKSUM} | {KEY: asdict(sources)}
    write_atomically(path, (json.dumps(content | {CHECKSUM: _checksum(content)}, indent=2) + "\n").encode())


def read_sources(path: Path) -> Sources | None:
    """Return the sources in a record; None in a record of an early version.

    Raises:
        OSError: There is no such file.
        ValueError: It is damaged, or has changed since the job wrote it.
    """
    try:
        content = json.loads(readable(path).decode())
        if KEY not in content and CHECKSUM not in content:
            return None
        if content.pop(CHECKSUM, None) != _checksum(content):
            raise ValueError(f"{path}: wrong checksum; the file is damaged or was edited.")
        return Sources(**content[KEY])
    except (AttributeError, TypeError) as error:  # JSON of another form
        raise ValueError(f"{path}: {error}") from None


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def check_unchanged(read: Mapping[str, str]) -> None:
    """Raise SourceError if a file has changed since the job read it."""
    changed = [path for path, digest in read.items() if not Path(path).exists() or sha256_of(path) != digest]
    if changed:
        raise SourceError(
            f"{', '.join(changed)} changed while this job ran. So its result belongs to an older state of the files; "
            "run Snakemake again."
        )


def check_made_from(parts: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raise SourceError unless each of ``parts``, by the file beside it, was made from today's ``inputs``."""
    wanted = hashed(inputs)
    for part in parts:
        try:
            sources = read_sources(Path(beside(part)))
        except (OSError, ValueError):
            sources = None
        if sources is None or sources.inputs != wanted:
            raise SourceError(
                f"{part} was made from other files than today's {' and '.join(wanted)}; delete it and run Snakemake "
                "again."
            )
