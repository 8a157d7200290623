"""Whether a file is still the one that its job wrote, by its digest and by the record of the job."""

import functools
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from ehap.workflow.sources import BESIDE, RECORD, Sources, read_sources

TABLES = f"tables/{BESIDE}"
"""It lists files of a folder beside it, too."""


def digest(path: Path, kind: str) -> str:
    """Return the digest of a file's content as hexadecimal digits; a file that did not change is read once.

    Args:
        path: Path of a file; links are followed.
        kind: A name that hashlib knows.
    """
    found = path.stat()
    return _digest(path, kind, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))


@functools.cache
def _digest(path: Path, kind: str, _state: tuple[int, ...]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, functools.partial(hashlib.new, kind, usedforsecurity=False)).hexdigest()


def whole(path: Path) -> bool | None:
    """Return whether a file is unchanged since its job wrote it; None if no record lists it.

    A record is whole if it is intact and so is every output that it lists.

    Args:
        path: Relative to the project, in which this runs.
    """
    if _is_record(path):
        return job_whole(path)
    for _, sources in _records_of(path):
        return _matches(path, sources.outputs[str(path)])
    return None


def job_whole(path: Path) -> bool | None:
    """Return whether all outputs of a file's job are unchanged since it wrote them; None if no record lists the file.

    Args:
        path: Path of one of them, or of the record.
    """
    if _is_record(path):
        try:
            sources = read_sources(path)
        except (OSError, ValueError):
            return False
        return None if sources is None else _all_match(sources.outputs)
    for _, sources in _records_of(path):
        return _all_match(sources.outputs)
    return None


def is_damaged(path: Path) -> bool:
    """Return whether a file is not the one that its job wrote; the job's other files do not count."""
    if not _is_record(path):
        return whole(path) is False
    try:
        read_sources(path)
    except ValueError:
        return True
    return False


def job_of(path: Path) -> Path | None:
    """Return the record of the job that wrote a file; None if no record knows."""
    return path if _is_record(path) else next((record for record, _ in _records_of(path)), None)


def _is_record(path: Path) -> bool:
    return path.name.endswith((RECORD, BESIDE))


def _records_of(path: Path) -> Iterator[tuple[Path, Sources]]:
    """Yield the records in a file's folder, or in one above it, that list the file."""
    folders = path.parents[: max(len(path.parents) - 2, 0)]  # not above results/RUN
    places = [place for folder in folders for place in (folder / RECORD, *sorted(folder.glob(f"*{BESIDE}")))]
    for record in [*places, *(folder / TABLES for folder in folders[-1:])]:
        try:
            sources = read_sources(record)
        except (OSError, ValueError):  # absent, or damaged: it says nothing
            continue
        if sources is not None and str(path) in sources.outputs:
            yield record, sources


def _all_match(outputs: Mapping[str, str]) -> bool:
    return all(_matches(Path(name), sha256) for name, sha256 in outputs.items())


def _matches(path: Path, sha256: str) -> bool:
    return path.is_file() and digest(path, "sha256") == sha256
