"""The code that a job runs, against the code that it was planned with."""

import importlib
import importlib.util
import marshal
import sys
from collections.abc import Mapping
from pathlib import Path

from ehap.errors import CodeError
from ehap.workflow.digest import source_digest, source_files
from ehap.workflow.own_code import own_files

HEADER = 16  # bytes before the code in a compiled file


def code_in_memory(script: Path, planned: str, criterion: str = "") -> str:
    """Import all modules that a script reaches, and return the digest of the code now in memory.

    A job takes hours, and an import in a function may come at its end. So all is imported now: the digest stays
    true whatever is edited later.

    Args:
        script: The file that runs, under workflow_scripts/.
        planned: The digest with which Snakemake has planned the job; empty where a person runs the script.
        criterion: ``package.module:function``, where the script calls a function of the user's.

    Raises:
        CodeError: The plan was made with other code, or the user's module cannot be imported.
        SettingsError: The code of the user's function cannot be followed.
    """
    script = script.resolve()
    root = script.parents[1]
    own = own_files(criterion, root)
    _import_own(own, criterion)
    for path in source_files(script, root, own):
        if path != script and path not in own.values():
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            _forget_outdated(path, name in sys.modules)
            module = importlib.import_module(name)
            _check_place(Path(str(module.__file__)), path)
    found = source_digest(script, root, root / "envs" / "lock.txt", criterion)
    if planned and found != planned:
        raise CodeError(
            "the code has been edited since this run began, and its result would differ from the plan; nothing was "
            "computed. Run Snakemake again: it plans with the code that is there now."
        )
    return found


def _import_own(own: Mapping[str, Path], criterion: str) -> None:
    """Import the user's files, from the folder in which Snakemake runs or from the environment."""
    if own:
        sys.path.append(str(Path.cwd()))  # last: a file of the user's hides no library
    for name, path in own.items():
        _forget_outdated(path, name in sys.modules)
        try:
            module = importlib.import_module(name)
        except Exception as error:  # the user's code may raise anything
            raise CodeError(
                f"criterion {criterion}: {path} cannot be imported ({type(error).__name__}: {error})."
            ) from error
        if Path(str(module.__file__)).resolve() != path.resolve():
            raise CodeError(
                f"criterion {criterion}: {name} is {path}, but Python imports {module.__file__}; rename your module."
            )


def _forget_outdated(path: Path, imported: bool) -> None:
    """Delete Python's compiled form of a file if the file has changed since.

    Python compares size and time only. So it misses an edit in the same second, or a file with the old file's time.

    Raises:
        CodeError: The outdated code is in memory already.
    """
    compiled = Path(importlib.util.cache_from_source(str(path)))
    try:
        if path.stat().st_ctime_ns < compiled.stat().st_mtime_ns:
            return
        code = marshal.loads(compiled.read_bytes()[HEADER:])
        if code == compile(path.read_bytes(), str(path), "exec", dont_inherit=True):
            return
        compiled.unlink()
    except (OSError, ValueError, EOFError, TypeError):  # none, damaged, or not ours to delete
        return
    if imported:
        raise CodeError(
            f"Python has imported an outdated {compiled}, which has the size and time of {path}; it is deleted now, "
            "and nothing was computed. Run Snakemake again."
        )


def _check_place(imported: Path, planned: Path) -> None:
    """Raise CodeError where another copy of the package is imported, unless it is the same word for word."""
    if imported.resolve() != planned and imported.read_bytes() != planned.read_bytes():
        raise CodeError(
            f"the plan is made from {planned}, but Python imports {imported}; run Snakemake of this checkout's own "
            "environment (make install), or set PYTHONPATH to the checkout."
        )
