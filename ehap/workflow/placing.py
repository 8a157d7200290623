"""Put pulled files in place: choose them, move others out of the way, and check their content."""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ehap.workflow.integrity import digest, job_of, job_whole
from ehap.workflow.objects import Objects, Vouched


class Aside:
    """Folder for files that make way for pulled ones; new for each pull, and made at the first move.

    moved: Files moved there.
    """

    def __init__(self, run: str) -> None:
        self._run, self._folder = run, Path()
        self.moved: list[Path] = []

    @property
    def folder(self) -> Path:
        """The folder; nothing is in it before the first move."""
        return self._folder

    def move(self, path: Path) -> None:
        """Move a file or a folder out of the way; a link as a copy of its content. A link to nothing is deleted."""
        if not path.exists():
            path.unlink()
            return
        if not self.moved:
            self._folder = _new_folder(Path("aside") / self._run)
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            shutil.copytree(path, target) if path.is_dir() else shutil.copyfile(path, target)
            path.unlink()
        else:
            shutil.move(path, target)
        self.moved.append(path)


def to_place(
    vouched: Vouched, force: bool, absent: Callable[[Iterable[str]], set[str]]
) -> tuple[dict[Path, str], list[Path]]:
    """Return the files to put in place, and the files that stay although they differ from the pushed ones.

    Args:
        vouched: Files in ``dvc.lock``.
        force: Whether files made here since then make way.
        absent: Function from objects to those that the cache lacks. A file that the cache has was pulled or
            committed before, and is not lost if it makes way.

    Returns:
        MD5 by path of the files to put in place: missing ones, and different ones that no job here made whole. Paths
        of the files that stay: different ones that a job here made whole.
    """
    with ThreadPoolExecutor() as pool:
        same = dict(zip(vouched.files, pool.map(holds, vouched.files, vouched.files.values()), strict=True))
    whole = [path for path, found in same.items() if not found and path.is_file() and not force and job_whole(path)]
    new = {job_of(path) for path in whole if absent([digest(path, "md5")])}
    newer = [path for path in whole if job_of(path) in new]  # a job's files belong together
    stays = set(newer)
    return {path: vouched.files[path] for path, found in same.items() if not found and path not in stays}, newer


def place(objects: Objects, wanted: Mapping[Path, str], aside: Aside) -> list[Path]:
    """Put files in place if the cache has their object; return the files that are missing or damaged afterwards."""
    absent = objects.absent(wanted.values())
    possible = [(path, name) for path, name in wanted.items() if name not in absent]
    for path, _ in possible:
        _make_way(path, aside)
    objects.place(possible)
    with ThreadPoolExecutor() as pool:
        good = list(pool.map(lambda each: holds(*each), possible))
    bad = [path for (path, _), found in zip(possible, good, strict=True) if not found]
    for path in bad:
        path.unlink(missing_ok=True)
    return [*(path for path, name in wanted.items() if name in absent), *bad]


def holds(path: Path, md5: str) -> bool:
    """Return whether a file is there with the content that ``dvc.lock`` names."""
    return path.is_file() and digest(path, "md5") == md5


def _make_way(path: Path, aside: Aside) -> None:
    """Clear the place of a file."""
    for part in (*reversed(path.parents[:-2]), path):
        if os.path.lexists(part) and (part == path or not part.is_dir()):
            aside.move(part)


def _new_folder(parent: Path) -> Path:
    name = time.strftime("%Y-%m-%d_%H%M%S")
    for number in range(1000):
        folder = parent / (name if number == 0 else f"{name}_{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(parent)
