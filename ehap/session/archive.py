"""The archives of a session: few, of limited size, each whole at any moment."""

import os
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MOST_BYTES = 16 * 2**20
END_OF_TAR = 20 * 512  # tarfile fills the last record
SPARE = 64 * 1024  # for gzip's own bytes, where nothing shrinks


@dataclass(frozen=True)
class Packed:
    """The result of packing.

    archives: Written archives, each at most MOST_BYTES. left_out: Names of files that no archive had room for.
    """

    archives: tuple[Path, ...]
    left_out: tuple[str, ...]


def pack(out: Path, stem: str, root: Path, files: Sequence[Path], scratch: Path, most: int = 1) -> Packed:
    """Write ``files`` as ``stem.tar.gz``, or as ``stem-1.tar.gz`` and so on where there may be several.

    Each archive replaces the older one in a single step. A file that is gone by now is passed over.

    Args:
        out: Folder of the archives. Nothing else is written there.
        stem: First part of their names.
        root: Names in the archives are relative to it.
        files: The most important first: a file goes to the first archive with room for it.
        scratch: Folder for unfinished archives, best on the file system of ``out``.
        most: Largest number of archives.
    """
    contents, left_out = _shared_out(root, files, most)
    done = []
    for number, content in enumerate(contents, 1):
        name = f"{stem}.tar.gz" if most == 1 else f"{stem}-{number}.tar.gz"
        with tarfile.open(scratch / name, "w:gz", compresslevel=1) as archive:
            for path in content:
                _add(archive, path, str(path.relative_to(root)))
        done.append((scratch / name, out / name))
    for written, target in done:
        place(written, target)
    for older in set(out.glob(f"{stem}*.tar.gz")) - {target for _, target in done}:
        older.unlink()
    return Packed(tuple(target for _, target in done), tuple(left_out))


def place(written: Path, target: Path) -> None:
    """Move a whole file to its place in one step, also to another file system."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        written.replace(target)
    except OSError:
        beside = target.with_name(f".{target.name}.tmp")
        shutil.copyfile(written, beside)
        beside.replace(target)
        written.unlink()


def put_text(target: Path, text: str, scratch: Path) -> None:
    """Write a small file in one step."""
    written = scratch / target.name
    written.write_text(text)
    place(written, target)


def _shared_out(root: Path, files: Sequence[Path], most: int) -> tuple[list[list[Path]], list[str]]:
    contents: list[list[Path]] = []
    room: list[int] = []
    left_out = []
    for path in files:
        try:
            size = path.stat().st_size + 4 * 512  # its header, with a long name, and the rest of its last block
        except FileNotFoundError:
            continue
        fitting = next((number for number, free in enumerate(room) if free >= size), None)
        if fitting is None and len(room) < most and size <= MOST_BYTES - END_OF_TAR - SPARE:
            fitting = len(room)
            room.append(MOST_BYTES - END_OF_TAR - SPARE)
            contents.append([])
        if fitting is None:
            left_out.append(str(path.relative_to(root)))
            continue
        room[fitting] -= size
        contents[fitting].append(path)
    return contents, left_out


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    """Add a file with its present content; a job may replace or remove it meanwhile."""
    try:
        with path.open("rb") as file:
            member = archive.gettarinfo(arcname=name, fileobj=file)
            archive.addfile(member, file)
    except FileNotFoundError:
        return


def empty(folder: Path) -> bool:
    """Return whether a folder may take a session's files: it is missing or has nothing in it."""
    return not folder.exists() or not any(os.scandir(folder))
