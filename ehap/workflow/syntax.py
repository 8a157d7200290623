"""Python files as syntax trees: their imports, and the parts that are code."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

SETTINGS = "ehap.settings"
PACKAGES = ("ehap", "benchmarks")
"""Packages with modules that are followed."""
WHOLE = "*"
"""In place of a name: the module itself."""


@cache
def tree(path: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


def plain(node: Any) -> Any:
    """Return a syntax tree as nested lists, without docstrings and empty fields: the same under every Python."""
    if isinstance(node, ast.AST):
        found: list[Any] = [type(node).__name__]
        for name in node._fields:
            value = getattr(node, name, None)
            if value is not None and value != []:
                found.append((name, plain(value) if isinstance(value, ast.AST | list) else value))
        return found
    if isinstance(node, list):
        return [plain(item) for item in node if not _is_docstring(item)]
    return node


def _is_docstring(node: object) -> bool:
    """Say whether a statement is a bare string: it does nothing, wherever it stands."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@cache
def imports(path: Path) -> tuple[tuple[str, str, str], ...]:
    """Return, of every import in a file, the local name, the module and the name there."""
    return tuple(imported(tree(path)))


def imported(node: ast.AST) -> Iterator[tuple[str, str, str]]:
    """Yield the same of every import in a syntax tree."""
    for each in ast.walk(node):
        if isinstance(each, ast.Import):
            for alias in each.names:
                yield alias.asname or alias.name.split(".")[0], alias.name, WHOLE
        elif isinstance(each, ast.ImportFrom) and each.module:
            for alias in each.names:
                yield alias.asname or alias.name, each.module, alias.name


def origin(module: str, name: str, root: Path) -> tuple[str, str]:
    """Return the module that defines ``name`` of ``module``, through re-exports, and its name there."""
    if name == WHOLE:
        return module, WHOLE
    file = file_of(module, root)
    if file is not None and (file.name == "__init__.py" or is_settings(module)):
        for local, source, there in imports(file):  # they hide a submodule of the same name
            if local == name and there != WHOLE and source.startswith("ehap.") and (source, there) != (module, name):
                return origin(source, there, root)
    return (module, name) if file_of(f"{module}.{name}", root) is None else (f"{module}.{name}", WHOLE)


def is_settings(module: str) -> bool:
    """Return whether a module is part of ``ehap.settings``."""
    return module == SETTINGS or module.startswith(f"{SETTINGS}.")


@cache
def file_of(name: str, root: Path) -> Path | None:
    """Return the file of a module of PACKAGES; None for other packages and for errors."""
    parts = name.split(".")
    if parts[0] not in PACKAGES or parts[1:2] == ["errors"]:
        return None
    base = root.joinpath(*parts)
    return next((file for file in (base / "__init__.py", base.with_suffix(".py")) if file.is_file()), None)
