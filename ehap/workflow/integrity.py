"""Whether a file holds what was written: by its digest, and by what the record of its job says."""

import functools
import hashlib
import json
from pathlib import Path

RECORDS = ("record.json", "sources.json")
"""Where a job says, in ``sources``, ``outputs``, which SHA-256 each of its outputs had, but for this file."""


def digest(path: Path, kind: str) -> str:
    """Return the digest of a file's content as hexadecimal digits; a file that did not change is read once.

    Args:
        path: Of a file; links are followed.
        kind: A name that hashlib knows.
    """
    found = path.stat()
    return _digest(path, kind, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))


@functools.cache
def _digest(path: Path, kind: str, _state: tuple[int, ...]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, functools.partial(hashlib.new, kind, usedforsecurity=False)).hexdigest()


def whole(path: Path) -> bool | None:
    """Return whether a file holds what its job wrote; None if no record knows.

    A record that stands among the outputs of a job is whole if every output is that it lists.

    Args:
        path: Relative to the project, in which this runs.
    """
    if path.name in RECORDS:
        return job_whole(path)
    for _, outputs in _records_of(path):
        return _matches(path, outputs[str(path)])
    return None


def job_whole(path: Path) -> bool | None:
    """Return whether all outputs of the job that wrote a file hold what it wrote; None if no record knows.

    Args:
        path: Of one of them, or of the record.
    """
    if path.name in RECORDS:
        try:
            outputs = _outputs(path)
        except (OSError, ValueError):
            return False
        return all(_matches(Path(name), sha256) for name, sha256 in outputs.items()) if outputs else None
    for record, _ in _records_of(path):
        return job_whole(record)
    return None


def _records_of(path: Path) -> list[tuple[Path, dict[str, str]]]:
    """Return the records in a file's folder, or in one above it, that list the file, with all that they list."""
    found = []
    for folder in path.parents[: max(len(path.parents) - 2, 0)]:  # not above results/RUN
        for name in RECORDS:
            try:
                outputs = _outputs(folder / name)
            except (OSError, ValueError):  # absent, or damaged: it says nothing
                continue
            if str(path) in outputs:
                found.append((folder / name, outputs))
    return found


def _outputs(record: Path) -> dict[str, str]:
    """Return the SHA-256 by path that a record lists; an old record lists none."""
    content = json.loads(record.read_text())
    if not isinstance(content, dict):
        raise ValueError(f"{record}: expected a JSON object")  # noqa: TRY004 (damaged, like what json raises)
    sources = content.get("sources")
    outputs = sources.get("outputs") if isinstance(sources, dict) else None
    return {str(name): str(sha256) for name, sha256 in outputs.items()} if isinstance(outputs, dict) else {}


def _matches(path: Path, sha256: str) -> bool:
    return path.is_file() and digest(path, "sha256") == sha256
