"""The code of a criterion that is a function of the user's: its module and the imports of that."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ehap.errors import SettingsError
from ehap.settings.own_criterion import files_of, found_files, is_own, named, places, refuse_compiled
from ehap.workflow.syntax import file_of, tree

DYNAMIC_MODULES = ("importlib", "imp", "pkgutil", "runpy")
DYNAMIC_FUNCTIONS = ("__import__", "compile", "eval", "exec")
"""Ways to run code that no import statement names."""


def criterion_of(settings: Any) -> str:
    """Return the criterion that a job's settings name, if that is a function of the user's; otherwise an empty text."""
    block = settings if isinstance(settings, Mapping) else {}
    criterion = str(block.get("prune", block).get("criterion", ""))
    return criterion if is_own(criterion) else ""


def own_files(criterion: str, root: Path, folder: Path | None = None) -> dict[str, Path]:
    """Return module name to file of a criterion's module, and of its imports from the folder, transitively.

    The folder is the one in which snakemake runs. Imports from the environment are followed only in the package of
    the module itself. Modules of ``ehap`` are left to the digest.

    Args:
        criterion: ``package.module:function``; an empty text has no files.
        root: The folder that holds the package ``ehap``.
        folder: Where snakemake runs; the current folder where left out.

    Raises:
        SettingsError: A file cannot be followed: it is compiled, is not valid Python, or imports by a computed name.
    """
    if not criterion:
        return {}
    module, _ = named(criterion)
    folder = folder or Path.cwd()
    found = files_of(module, places(folder), criterion)
    waiting = list(found)
    while waiting:
        name = waiting.pop()
        _check_static(found[name], criterion)
        _check_origins(found[name], root, criterion)
        for other in _imported(name, found[name], criterion):
            own = other.split(".")[0] == module.split(".")[0]
            there = _files(other, places(folder) if own else [folder], criterion)
            waiting += [each for each in there if each not in found]
            found |= there
    return found


def _files(module: str, folders: list[Path], criterion: str) -> dict[str, Path]:
    """Return the files of a module that may be one of the user's, or a name in one; none for other modules."""
    found = {} if module.split(".", maxsplit=1)[0] == "ehap" else found_files(module, folders)
    for file in found.values():
        refuse_compiled(file, criterion)
    return found


def _imported(name: str, file: Path, criterion: str) -> Iterator[str]:
    """Yield the modules that a file imports, by full name, and the names in them, which may be modules, too."""
    package = name.split(".") if file.stem == "__init__" else name.split(".")[:-1]
    for node in ast.walk(_tree(file, criterion)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names)


def _check_static(file: Path, criterion: str) -> None:
    for node in ast.walk(_tree(file, criterion)):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        dynamic = [name for name in modules if name.split(".")[0] in DYNAMIC_MODULES]
        if isinstance(node, ast.Name) and node.id in DYNAMIC_FUNCTIONS:
            dynamic.append(node.id)
        if dynamic:
            raise SettingsError(
                f"criterion {criterion}: {file}, line {getattr(node, 'lineno', 0)}: {dynamic[0]} runs code that cannot "
                "be followed, so that edits of it would not rerun anything; use import statements."
            )


def _check_origins(file: Path, root: Path, criterion: str) -> None:
    """Raise where a file imports a name from the package ``ehap`` itself, which finds its names only when it runs."""
    for node in ast.walk(_tree(file, criterion)):
        names = [alias.name for alias in node.names if alias.name == "ehap"] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level and node.module == "ehap":
            names += [alias.name for alias in node.names if file_of(f"ehap.{alias.name}", root) is None]
        if names:
            raise SettingsError(
                f"criterion {criterion}: {file}, line {getattr(node, 'lineno', 0)}: names of ehap itself cannot be "
                "followed; import from the module that defines the name, as in from ehap.pruning import magnitude."
            )


def _tree(file: Path, criterion: str) -> ast.Module:
    try:
        return tree(file)
    except (SyntaxError, UnicodeDecodeError) as error:
        raise SettingsError(f"criterion {criterion}: {file} is not valid Python ({error}).") from None
