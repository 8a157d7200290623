"""DVC's objects of a run: the files in ``dvc.lock``, and the cache and the remote that hold their content.

Fetching, committing and pushing are DVC's own commands. For the rest DVC's Python objects serve: ``opened`` checks
that they are there. A folder has an object of its own, named ``….dir``, a list of its files in JSON.
"""

import json
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ehap.errors import ProvenanceError
from ehap.workflow.integrity import digest

LIST = ".dir"
CACHE = ("oid_to_path", "path_to_oid", "cache_types", "fs", "protect")
REMOTE = ("oids_exist", "add")


@dataclass(frozen=True)
class Vouched:
    """The files and folders in ``dvc.lock``.

    files: MD5 of each file, by path. folders: Object of each folder's list, by path. unknown: Folders without their
    list in the cache, so that their files are not known.
    """

    files: dict[Path, str] = field(default_factory=dict)
    folders: dict[Path, str] = field(default_factory=dict)
    unknown: tuple[Path, ...] = ()


class Objects:
    """The objects of the project in which this runs; see ``opened``."""

    def __init__(self, repo: Any) -> None:
        self._repo = repo
        self._cache = _having(repo.cache.local, CACHE)

    def outputs(self, stage: str) -> dict[Path, str]:
        """Return the object of each output of a stage that is not in git.

        Raises:
            ProvenanceError: DVC knows no such stage, or it has never been committed.
        """
        outputs = {}
        for output in (
            output for found in self._repo.stage.collect(stage) for output in found.outs if output.use_cache
        ):
            if output.hash_info.name != "md5" or not output.hash_info.value:
                raise ProvenanceError(
                    f"dvc.lock has no checksum of {output}: this run was never pushed, or git has not fetched the "
                    "dvc.lock of the push. Fetch it with git, or push the run."
                )
            outputs[Path(output.fspath).relative_to(self._repo.root_dir)] = str(output.hash_info.value)
        return outputs

    def vouched(self, stage: str) -> Vouched:
        """Return every file of ``dvc.lock``, by the lists in the cache."""
        found, unknown = Vouched(), []
        for path, name in self.outputs(stage).items():
            if not name.endswith(LIST):
                found.files[path] = name
                continue
            found.folders[path] = name
            try:
                entries = json.loads(self.cached(name).read_text())
                found.files.update({path / entry["relpath"]: entry["md5"] for entry in entries})
            except (OSError, ValueError):
                unknown.append(path)
        return Vouched(found.files, found.folders, tuple(unknown))

    def cached(self, name: str) -> Path:
        """Return the place of an object in the cache."""
        return Path(self._cache.oid_to_path(name))

    def absent(self, names: Iterable[str]) -> set[str]:
        """Return the objects that the cache lacks."""
        return {name for name in names if not self.cached(name).is_file()}

    def damaged(self, names: Iterable[str]) -> set[str]:
        """Return the damaged objects of the cache: their content does not match their name."""

        def bad(name: str) -> bool:
            with suppress(FileNotFoundError):
                return digest(self.cached(name), "md5") != name.removesuffix(LIST)
            return False

        wanted = sorted(set(names))
        with ThreadPoolExecutor() as pool:
            return {name for name, found in zip(wanted, pool.map(bad, wanted), strict=True) if found}

    def drop(self, names: Iterable[str]) -> None:
        """Take objects out of the cache, so that DVC fetches them."""
        for name in names:
            self.cached(name).unlink(missing_ok=True)

    def place(self, files: Collection[tuple[Path, str]]) -> None:
        """Link or copy objects to where no file is, as ``cache.type`` says; which are then there, the caller finds."""
        from dvc_objects.fs.generic import transfer

        for path, _ in files:
            path.parent.mkdir(parents=True, exist_ok=True)
        if files:
            transfer(
                self._cache.fs,
                [str(self.cached(name)) for _, name in files],
                self._repo.fs,
                [str(path.absolute()) for path, _ in files],
                links=list(self._cache.cache_types),
                on_error=lambda *_: None,
            )

    def in_remote(self, names: Collection[str], remote: str | None) -> set[str]:
        """Return which objects are in a remote. Each is looked for: DVC itself takes a list for all of its files."""
        target = self._remote(remote)
        try:
            return set(target.oids_exist(set(names))) if names else set()
        except Exception as error:  # each kind of remote has its own
            raise ProvenanceError(
                f"the remote at {target.path} does not answer ({type(error).__name__}: {error}); check its address and "
                "the way there."
            ) from None

    def upload(self, names: Collection[str], remote: str | None) -> None:
        """Copy objects from the cache to a remote, lists last; which are then there, ``in_remote`` says."""
        target = self._remote(remote)
        for name in sorted(names, key=lambda name: name.endswith(LIST)):
            try:
                target.add(str(self.cached(name)), self._cache.fs, name, check_exists=False, verify=False)
            except Exception as error:  # each kind of remote has its own
                print(f"{name}: not uploaded ({type(error).__name__}: {error})", file=sys.stderr)

    def check_remote(self, remote: str | None) -> None:
        """Raise DVC's error where there is no such remote."""
        self._repo.cloud.get_remote(remote, "pull")

    def _remote(self, remote: str | None) -> Any:
        return _having(self._repo.cloud.get_remote_odb(remote, "push"), REMOTE)


@contextmanager
def opened() -> Iterator[Objects]:
    """Open the project in which this runs.

    Raises:
        ProvenanceError: It is no project of DVC, something is wrong with its files, or this version of DVC is other
            inside.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            if Path(repo.root_dir) != Path.cwd().resolve():
                raise ProvenanceError(f"this is not the folder of the project; go to {repo.root_dir}.")
            yield Objects(_having(repo, ("cache", "cloud", "stage", "fs")))
    except DvcException as error:
        raise ProvenanceError(f"DVC says: {error}") from None


def dvc(*arguments: str) -> int:
    """Run a command of DVC and return its exit code. Its messages go to the terminal."""
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], check=False).returncode


def _having(thing: Any, names: Iterable[str]) -> Any:
    """Return ``thing`` if it has the parts, which are no documented interface of DVC."""
    absent = [name for name in names if not hasattr(thing, name)]
    if absent:
        raise ProvenanceError(
            f"DVC {version('dvc')} is other inside than this workflow knows it: its {type(thing).__name__} has no "
            f"{', '.join(absent)}; install the version that envs/lock.txt names."
        )
    return thing
