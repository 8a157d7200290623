"""The form of the code: short files, short functions, imports that go one way. Read from the sources alone."""

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("ehap", "benchmarks", "workflow_scripts")
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)

MOST_LINES = 300
MOST_LINES_OF_COMMON = 100
MOST_CODE_OF_A_SCRIPT = 15
MOST_CODE_OF_A_FUNCTION = 45
USUAL_CODE_OF_A_FUNCTION = 22


@cache
def _source(path: str) -> tuple[str, ast.Module]:
    text = (ROOT / path).read_text()
    return text, ast.parse(text)


def _sources(*folders: str) -> dict[str, tuple[str, ast.Module]]:
    """Return path to text and tree of every Python file in the folders."""
    paths = sorted(str(path.relative_to(ROOT)) for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return {path: _source(path) for path in paths}


def _lines_of_code(text: str, node: ast.AST) -> int:
    """Return the number of lines of a node without docstrings, comments and blank lines."""
    documented: set[int] = set()
    for inner in ast.walk(node):
        if (
            isinstance(inner, (*FUNCTION, ast.ClassDef, ast.Module))
            and ast.get_docstring(inner, clean=False) is not None
        ):
            documented |= set(range(inner.body[0].lineno, (inner.body[0].end_lineno or 0) + 1))
    lines = text.splitlines()
    first, last = getattr(node, "lineno", 1), getattr(node, "end_lineno", None) or len(lines)
    plain = (number for number in range(first, last + 1) if number not in documented)
    return sum(bool(lines[number - 1].split("#")[0].strip()) for number in plain)


@cache
def _functions() -> dict[str, int]:
    """Return path and name of every function of ours to its lines of code."""
    return {
        f"{path}:{node.name}": _lines_of_code(text, node)
        for path, (text, tree) in _sources(*OURS).items()
        for node in ast.walk(tree)
        if isinstance(node, FUNCTION)
    }


def _too_long() -> set[str]:
    rules = [ROOT / "Snakefile", *(ROOT / "rules").rglob("*.smk")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in rules}
    lengths |= {path: len(text.splitlines()) for path, (text, _) in _sources(*OURS).items()}
    tests = (ROOT / "tests").rglob("*.py")
    lengths |= {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in tests}
    scripts = {path: _lines_of_code(text, tree) for path, (text, tree) in _sources("workflow_scripts").items()}
    return {
        *(path for path, length in lengths.items() if length > MOST_LINES),
        *(path for path in ["rules/common.smk"] if lengths[path] > MOST_LINES_OF_COMMON),
        *(path for path, length in scripts.items() if length > MOST_CODE_OF_A_SCRIPT),
        *(name for name, length in _functions().items() if length > MOST_CODE_OF_A_FUNCTION),
    }


def test_files_scripts_and_functions_are_short() -> None:
    found = _too_long()
    assert not found, "split these"


def test_most_functions_are_far_shorter() -> None:
    lengths = sorted(_functions().values())
    assert lengths[int(0.9 * len(lengths))] <= USUAL_CODE_OF_A_FUNCTION


def _faults(tree: ast.Module) -> Iterator[int]:
    """Yield the lines that import through ``ehap`` itself, or relatively."""
    for node in ast.walk(tree):
        names = node.names if isinstance(node, ast.Import) else []
        through = any(a.name == "ehap" or (a.name.startswith("ehap.") and not a.asname) for a in names)
        if through or (isinstance(node, ast.ImportFrom) and (node.module == "ehap" or node.level)):
            yield node.lineno


def test_nothing_inside_imports_through_the_package_itself() -> None:
    """The names in ``ehap`` are for users: an import through it hides from the digest which module is used."""
    found = {path: lines for path, (_, tree) in _sources(*OURS).items() if (lines := list(_faults(tree)))}
    assert not found


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _at_import(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports that are executed when a module is imported."""
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, (ast.Import, ast.ImportFrom)):
            yield inner
        elif isinstance(inner, ast.If) and ast.unparse(inner.test) == "TYPE_CHECKING":
            continue
        elif not isinstance(inner, (*FUNCTION, ast.Lambda)):
            yield from _at_import(inner)


def _imports(tree: ast.Module, modules: set[str]) -> set[str]:
    found = set()
    for node in _at_import(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & modules
            found |= {node.module} if inner - modules else set()
    return found & modules


def test_no_modules_import_each_other_in_a_circle() -> None:
    sources = {_module(path): tree for path, (_, tree) in _sources("ehap", "benchmarks").items()}
    graph = {name: _imports(tree, set(sources)) for name, tree in sources.items()}
    assert sum(map(len, graph.values())) > len(graph)  # imports were read at all
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_the_contract_of_imports_lists_every_package() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    listed = [name.strip() for layer in layers for name in layer.split("|")]
    present = {_module(path).split(".")[1] for path in _sources("ehap") if path != "ehap/__init__.py"}
    assert sorted(listed) == sorted(present)
