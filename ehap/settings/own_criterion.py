"""A criterion that is a function of the user's: ``package.module:function``, found and read without importing it."""

import ast
import importlib.machinery
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from ehap.errors import SettingsError

FORM = re.compile(r"(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<function>[A-Za-z_]\w*)")
PARAMETERS = ("network", "images", "labels", "seed")
"""Names that such a function may ask for."""
OF_IMAGES = ("images", "labels")
SCRIPTS = "workflow_scripts"  # a job's own folder comes first on its path, that of a plan does not


def is_own(criterion: str) -> bool:
    """Return whether a criterion names a function of the user's."""
    return ":" in criterion


def named(criterion: str) -> tuple[str, str]:
    """Return the module and the function that a criterion names.

    Raises:
        SettingsError: The text has another form, or the module is part of ``ehap``.
    """
    found = FORM.fullmatch(criterion)
    if found is None:
        raise SettingsError(f"criterion: expected package.module:function, got {criterion!r}.")
    if found["module"].split(".")[0] == "ehap":
        raise SettingsError(f"criterion: {criterion} is part of ehap; use the name of one of its criteria.")
    return found["module"], found["function"]


def asked(criterion: str, folder: Path) -> tuple[str, ...]:
    """Return the names of the parameters of the user's function, from its source.

    Args:
        criterion: ``package.module:function``.
        folder: Where snakemake runs; its modules come before those of the environment.

    Raises:
        SettingsError: There is no such module or function, or it asks for something else than PARAMETERS.
    """
    module, function = named(criterion)
    file = list(files_of(module, places(folder), criterion).values())[-1]
    try:
        body = ast.parse(file.read_text(encoding="utf-8")).body
    except (SyntaxError, UnicodeDecodeError) as error:
        raise SettingsError(f"criterion {criterion}: {file} is not valid Python ({error}).") from None
    found = [each for each in body if isinstance(each, ast.FunctionDef) and each.name == function]
    if not found:
        there = ", ".join(each.name for each in body if isinstance(each, ast.FunctionDef)) or "none"
        raise SettingsError(
            f"criterion {criterion}: expected a function def {function}(...) in {file}; its functions are: {there}."
        )
    arguments = found[-1].args
    names = [each.arg for each in (*arguments.args, *arguments.kwonlyargs)]
    others = [each.arg for each in (*arguments.posonlyargs, arguments.vararg, arguments.kwarg) if each is not None]
    unknown = [*others, *(name for name in names if name not in PARAMETERS)]
    if unknown:
        raise SettingsError(
            f"criterion {criterion}: {function} has the parameter {unknown[0]}; expected some of "
            f"{', '.join(PARAMETERS)}, given by name."
        )
    return tuple(names)


def places(folder: Path) -> list[Path]:
    """Return the folders in which modules are searched, in order: the given one, then those of the environment."""
    return [folder, *(Path(entry) for entry in sys.path if entry and Path(entry).name != SCRIPTS)]


def files_of(module: str, folders: Sequence[Path], criterion: str) -> dict[str, Path]:
    """Return module name to file, of the packages on the way to a module and of the module itself.

    A package without ``__init__.py`` has no file.

    Raises:
        SettingsError: There is no such module, or it is compiled.
    """
    found = found_files(module, folders)
    if module not in found:
        raise SettingsError(
            f"criterion {criterion}: there is no module {module} in {folders[0]} or in the environment; expected "
            f"{module.replace('.', '/')}.py in the folder in which snakemake runs."
        )
    for file in found.values():
        refuse_compiled(file, criterion)
    return found


def found_files(module: str, folders: Sequence[Path]) -> dict[str, Path]:
    """Return the same as ``files_of``, compiled files included; missing modules have no entry."""
    found: dict[str, Path] = {}
    inside, parts = list(folders), module.split(".")
    for number, part in enumerate(parts, start=1):
        file = next(filter(None, (_file_in(place, part) for place in inside)), None)
        if file is None:
            inside = [place / part for place in inside if (place / part).is_dir()]
        else:
            found[".".join(parts[:number])] = file
            inside = [file.parent] if file.name.startswith("__init__.") else []
    return found


def refuse_compiled(file: Path, criterion: str) -> None:
    """Raise SettingsError unless a file is Python source."""
    if file.suffix != ".py":
        raise SettingsError(
            f"criterion {criterion}: {file} is compiled, so that edits of its source cannot be seen; use a module in "
            "Python."
        )


def _file_in(place: Path, name: str) -> Path | None:
    """Return the file that Python would import as ``name`` from a folder, compiled or not."""
    suffixes = (*importlib.machinery.EXTENSION_SUFFIXES, ".py", *importlib.machinery.BYTECODE_SUFFIXES)
    files = (place / f"{base}{suffix}" for base in (f"{name}/__init__", name) for suffix in suffixes)
    return next((file for file in files if file.is_file()), None)
