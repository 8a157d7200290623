"""A digest of the code behind a rule, so that an edit reruns exactly the rules that use it.

Snakemake watches a rule's command line, not the modules that the command imports.
"""

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from ehap.errors import CodeError
from ehap.workflow.executed import executed_settings
from ehap.workflow.followed import check_followed
from ehap.workflow.own_code import own_files
from ehap.workflow.syntax import file_of, imports, is_settings, origin, plain, tree

PIN = re.compile(r"[A-Za-z0-9][\w.\[\],-]*==[^\s;\\#]+(\s*;[^\\#]*[^\s\\#])?")


def source_digest(script: Path, root: Path, lock: Path, criterion: str = "") -> str:
    """Return a digest of a script, of the ``ehap`` code it imports, transitively, and of the lock file.

    Comments, docstrings and formatting do not count. The versions in the lock file do: libraries change results.
    ``from package import name`` follows that name to the module that defines it, not to all that the package offers.
    Of settings only the methods, functions and constants count that this code may use: the checked values stand in a
    rule's params.

    Args:
        script: A file under workflow_scripts/.
        root: The folder that holds the package ``ehap``.
        lock: The pinned requirements.
        criterion: ``package.module:function``, where the script calls a function of the user's.

    Raises:
        CodeError: A file imports modules of ``ehap`` in a way that cannot be followed.
        SettingsError: The code of the user's function cannot be followed.
    """
    digest = hashlib.sha256()
    own = own_files(criterion, root)
    files = source_files(script, root, own)
    names = {path: name for name, path in own.items()}
    for path in files:
        digest.update((names.get(path) or str(path.relative_to(root))).encode() + _code(path))
    digest.update(executed_settings(files, root))
    digest.update("\n".join(_pins(lock)).encode())
    return digest.hexdigest()[:16]


def source_files(script: Path, root: Path, own: Mapping[str, Path] | None = None) -> list[Path]:
    """Return a script, the user's files, and the files of the package that these import, in a fixed order.

    Imports are followed transitively. ``own`` has the user's files by module, as ``own_files`` returns them.
    """
    reached: set[Path] = set()
    users = set((own or {}).values())
    waiting = [script, *users]
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            if path not in users:  # these were checked when they were found
                check_followed(path, root)
            waiting.extend(_imports(path, root))
    return sorted(reached)


@cache
def _imports(path: Path, root: Path) -> tuple[Path, ...]:
    """Return the files outside settings that a file imports; a package that is only passed through is not one."""
    modules = [origin(module, name, root)[0] for _, module, name in imports(path)]
    files = [file_of(module, root) for module in modules if not is_settings(module)]
    return tuple(file for file in files if file is not None)


def _pins(lock: Path) -> list[str]:
    """Return each ``name==version`` of a lock file, with its marker; comments, hashes and options do not count.

    Raises:
        CodeError: A package is pinned in another form, in which a change would be missed.
    """
    found = []
    for line in lock.read_text().splitlines():
        if not line.strip() or line.startswith((" ", "\t", "#", "-")):
            continue
        pin = PIN.match(line)
        if pin is None:
            raise CodeError(f"{lock}: expected lines of the form name==version, got {line.strip()!r}; run make lock.")
        found.append(" ".join(pin[0].split()))
    return found


@cache
def _code(path: Path) -> bytes:
    return repr(plain(tree(path))).encode()
