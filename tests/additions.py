"""Additions to a copy of the project: what a developer edits for something new, and which files that are."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST = 3
"""Something new touches at most so many files besides its own."""


def insert(folder: Path, name: str, before: str, text: str) -> None:
    """Add lines to a file before the one place where it has ``before``."""
    path = folder / name
    assert path.read_text().count(before) == 1, (name, before)
    path.write_text(path.read_text().replace(before, text + before))


def edited(folder: Path) -> set[str]:
    """Return the files in a copy that differ from those of the project, new files left out."""
    names = [path.relative_to(folder) for path in folder.rglob("*") if "__pycache__" not in path.parts]
    both = [name for name in names if (folder / name).is_file() and (ROOT / name).is_file()]
    return {str(name) for name in both if (folder / name).read_bytes() != (ROOT / name).read_bytes()}


def said(folder: Path, code: str) -> str:
    """Execute code with the package of a copy, and the tests of the project; return what it prints."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (folder, ROOT)))}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
