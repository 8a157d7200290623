"""A digest of the code behind a rule, so that an edit reruns exactly the rules that use it.

Snakemake watches a rule's command line, not the modules that the command imports.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path


def source_digest(script: Path, root: Path, lock: Path) -> str:
    """Return a digest of a script, of all ``ehap`` modules it imports, transitively, and of the lock file.

    Comments, docstrings and formatting do not count; the versions in the lock file do: libraries change results.

    Args:
        script: A file under workflow_scripts/.
        root: The folder that holds the package ``ehap``.
        lock: The pinned requirements.
    """
    digest = hashlib.sha256()
    for path in sorted(_reached(script, root)):
        digest.update(str(path.relative_to(root)).encode() + _code(path))
    pins = [line.strip() for line in lock.read_text().splitlines()]
    digest.update("\n".join(line for line in pins if line and not line.startswith("#")).encode())
    return digest.hexdigest()[:16]


def _reached(script: Path, root: Path) -> set[Path]:
    reached: set[Path] = set()
    waiting = [script]
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            waiting.extend(_imports(path, root))
    return reached


@cache
def _imports(path: Path, root: Path) -> tuple[Path, ...]:
    found: list[Path] = []
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        found += [file for name in names if name.split(".")[0] == "ehap" for file in _files(name, root)]
    return tuple(found)


def _files(name: str, root: Path) -> list[Path]:
    """Return the files that importing ``name`` runs: the module, and the packages it lies in."""
    files: list[Path] = []
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        base = root.joinpath(*parts[:end])
        files += [file for file in (base / "__init__.py", base.with_suffix(".py")) if file.is_file()]
    return files


@cache
def _code(path: Path) -> bytes:
    tree = _tree(path)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            node.body = body[1:]  # type: ignore[attr-defined]
    return ast.dump(tree).encode()


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _is_docstring(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
