"""Mutations of the package, drawn by a seed, each against the tests of its package: which of them does a test see?

``python -m tests.mutations 30 --seed 0`` says it for the tests here, ``--tests FOLDER`` for those of another checkout.
"""

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

ROOT = Path(__file__).parents[1]
COPIED = (
    *(
        "Snakefile",
        "Makefile",
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "pyproject.toml",
        "dvc.yaml",
        "dvc.lock",
    ),
    *(
        "rules",
        "workflow_scripts",
        "config",
        "profiles",
        "envs",
        "ehap",
        "benchmarks",
        "docs",
        "measurements",
        "results",
    ),
    *("CITATION.cff", "LICENSE", ".gitignore", ".dvcignore"),
)
COMPARISONS: dict[type[ast.AST], str] = {
    **{ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "=="},
    **{ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in"},
}
OPERATORS: dict[type[ast.AST], str] = {
    **{ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "*", ast.Pow: "*"},
    **{ast.And: "or", ast.Or: "and", ast.BitOr: "&", ast.BitAnd: "|"},
}


@dataclass(frozen=True)
class Mutation:
    """A change of a source file: the text from ``begin`` to ``end``, in bytes, becomes ``new``."""

    path: Path
    line: int
    begin: int
    end: int
    new: str

    def text(self) -> bytes:
        """Return the source with the change."""
        source = (ROOT / self.path).read_bytes()
        return source[: self.begin] + self.new.encode() + source[self.end :]

    def __str__(self) -> str:
        old = (ROOT / self.path).read_bytes()[self.begin : self.end].decode()
        return f"{self.path}:{self.line}: {' '.join(old.split())} → {self.new}"


def mutations(path: Path) -> Iterator[Mutation]:
    """Yield the mutations of a file; not of annotations and decorators, which do nothing at run time."""
    source = (ROOT / path).read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    tree = ast.parse(source)
    left_out = {id(part) for node in ast.walk(tree) for root in _still(node) for part in ast.walk(root)}
    for node in ast.walk(tree):
        if id(node) in left_out:
            continue
        for first, last, new in _changes(node, source, starts):
            yield Mutation(path, source[:first].count(b"\n") + 1, first, last, new)


def _still(node: ast.AST) -> list[ast.AST]:
    """Return the parts of a node that are not changed."""
    parts = [getattr(node, name, None) for name in ("annotation", "returns")]
    return [*filter(None, parts), *getattr(node, "decorator_list", [])]


def _changes(node: ast.AST, source: bytes, starts: list[int]) -> Iterator[tuple[int, int, str]]:
    def begin(part: ast.expr) -> int:
        return starts[part.lineno - 1] + part.col_offset

    def end(part: ast.expr) -> int:
        assert part.end_lineno is not None
        assert part.end_col_offset is not None
        return starts[part.end_lineno - 1] + part.end_col_offset

    def between(left: ast.expr, right: ast.expr, old: ast.AST, new: str) -> Iterator[tuple[int, int, str]]:
        gap = source[end(left) : begin(right)].decode()
        word = gap.strip(" ()\n\t\\")
        if word and gap.count(word) == 1 and "#" not in gap:
            place = end(left) + len(gap[: gap.index(word)].encode())
            yield place, place + len(word.encode()), new

    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        for left, right, how in zip(sides, sides[1:], node.ops, strict=False):
            yield from between(left, right, how, COMPARISONS[type(how)])
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        yield from between(node.left, node.right, node.op, OPERATORS[type(node.op)])
    elif isinstance(node, ast.BoolOp):
        yield from between(node.values[0], node.values[1], node.op, OPERATORS[type(node.op)])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield begin(node), begin(node.operand), ""
    elif isinstance(node, (ast.If, ast.IfExp)):
        yield begin(node.test), end(node.test), f"not ({source[begin(node.test) : end(node.test)].decode()})"
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield begin(node), end(node), str(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield begin(node), end(node), str(node.value + 1)
    elif isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        yield begin(node.value), end(node.value), "None"


def drawn(count: int, seed: int) -> list[Mutation]:
    """Return mutations of files drawn by their number of mutations, no line twice."""
    paths = sorted(path.relative_to(ROOT) for path in (ROOT / "ehap").rglob("*.py"))
    found = [mutation for path in paths for mutation in mutations(path)]
    Random(seed).shuffle(found)
    lines: dict[tuple[Path, int], Mutation] = {}
    for mutation in found:
        lines.setdefault((mutation.path, mutation.line), mutation)
    return list(lines.values())[:count]


def tests_of(path: Path, tests: Path) -> list[str]:
    """Return the arguments of pytest for the tests of a file's package."""
    folder = tests / path.parts[1] if len(path.parts) > 2 else tests / f"test_{path.stem}.py"
    return [str(folder.relative_to(tests.parent))] if folder.exists() else ["tests/interface"]


def is_seen(mutation: Mutation, tests: Path) -> bool:
    """Say whether a test of the file's package fails with the mutation."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "project"
        for part in COPIED:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                folder.mkdir(exist_ok=True)
                shutil.copy(source, folder / part)
        shutil.copytree(tests, folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / mutation.path).write_bytes(mutation.text())
        options = ["-x", "-q", "-n", "2", "--dist", "worksteal", "-m", "not services", "-p", "no:cacheprovider"]
        command = [sys.executable, "-m", "pytest", *options, *tests_of(mutation.path, folder / "tests")]
        environment = os.environ | {"PYTHONPATH": str(folder)}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1, 2), done.stdout + done.stderr
        return done.returncode != 0


def main() -> None:
    """Draw mutations; say of each whether a test sees it, and in the end how many are seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tests", type=Path, default=ROOT / "tests")
    words = parser.parse_args()
    seen = []
    for mutation in drawn(words.count, words.seed):
        seen.append(is_seen(mutation, words.tests.resolve()))
        print("seen  " if seen[-1] else "UNSEEN", mutation, flush=True)
    print(f"{sum(seen)} of {len(seen)} are seen by the tests of their package")


if __name__ == "__main__":
    main()
