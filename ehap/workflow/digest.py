"""A digest of the code behind a rule, so that an edit reruns exactly the rules that use it.

Snakemake watches a rule's command line, not the modules that the command imports.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path
from typing import Any


def source_digest(script: Path, root: Path, lock: Path) -> str:
    """Return a digest of a script, of the ``ehap`` code it imports, transitively, and of the lock file.

    Comments, docstrings and formatting do not count; the versions in the lock file do: libraries change results.
    Settings do not: the checked values stand in a rule's params. ``from package import name`` follows that name to
    the module that defines it, not to all that the package offers.

    Args:
        script: A file under workflow_scripts/.
        root: The folder that holds the package ``ehap``.
        lock: The pinned requirements.
    """
    digest = hashlib.sha256()
    for path in source_files(script, root):
        digest.update(str(path.relative_to(root)).encode() + _code(path))
    pins = [line.strip() for line in lock.read_text().splitlines()]
    digest.update("\n".join(line for line in pins if line and not line.startswith("#")).encode())
    return digest.hexdigest()[:16]


def source_files(script: Path, root: Path) -> list[Path]:
    """Return a script and the files of the package that it imports, transitively, in a fixed order."""
    reached: set[Path] = set()
    waiting = [script]
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            waiting.extend(_imports(path, root))
    return sorted(reached)


@cache
def _imports(path: Path, root: Path) -> tuple[Path, ...]:
    """Return the files of the modules that a file imports; a package that is only passed through is not one."""
    found: list[Path | None] = []
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            found += [_file(alias.name, root) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [_source(node.module, alias.name, root) for alias in node.names]
    return tuple(file for file in found if file is not None)


def _source(module: str, name: str, root: Path) -> Path | None:
    """Return the file that defines ``name`` of ``module``, through the re-exports of packages."""
    submodule = _file(f"{module}.{name}", root)
    if submodule is not None:
        return submodule
    file = _file(module, root)
    if file is None or file.name != "__init__.py":
        return file
    for node in ast.walk(_tree(file)):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and name in [item.asname or item.name for item in node.names]
        ):
            return _source(node.module, name, root)
    return file


def _file(name: str, root: Path) -> Path | None:
    """Return the file of an ``ehap`` module; None for other packages, for settings and for errors."""
    parts = name.split(".")
    if parts[0] != "ehap" or parts[1:2] in (["settings"], ["errors"]):
        return None
    base = root.joinpath(*parts)
    return next((file for file in (base / "__init__.py", base.with_suffix(".py")) if file.is_file()), None)


@cache
def _code(path: Path) -> bytes:
    return repr(_plain(_tree(path))).encode()


def _plain(node: Any) -> Any:
    """Return a syntax tree as nested lists, without docstrings and empty fields: the same under every Python."""
    if isinstance(node, ast.AST):
        pairs = [(name, value) for name, value in ast.iter_fields(node) if value is not None and value != []]
        return [type(node).__name__, *((name, _plain(value)) for name, value in pairs)]
    if isinstance(node, list):
        return [_plain(item) for item in node if not _is_docstring(item)]
    return node


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _is_docstring(node: object) -> bool:
    """Say whether a statement is a bare string: it does nothing, wherever it stands."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
