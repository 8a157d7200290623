"""A job runs the code that it was planned with, of the package that it was planned with."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ehap.workflow.digest import source_digest
from tests.workflow.conftest import ROOT, copy_project


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copy_project(tmp_path)


def _ran(folder: Path, code: str, package: Path) -> "subprocess.CompletedProcess[str]":
    script = folder / "workflow_scripts/curves.py"
    options = ["--histories", "none.csv", "--picture", "p.svg", "--sources", "s.json", "--settings", '{"methods":[]}']
    command = [sys.executable, str(script), *options, "--code", code]
    environment = os.environ | {"PYTHONPATH": str(package)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_code_that_was_edited_after_the_plan_is_refused(folder: Path) -> None:
    script = folder / "workflow_scripts/curves.py"
    planned = source_digest(script, folder, folder / "envs/lock.txt")
    assert "error: none.csv: expected a file there" in _ran(folder, planned, folder).stderr  # it got as far as that
    stage = folder / "ehap/stages/curves.py"
    stage.write_text(stage.read_text() + "\nEDITED = True\n")
    done = _ran(folder, planned, folder)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the code has been edited since this run began")
    assert not (folder / "p.svg").exists()


def test_the_package_of_another_checkout_is_refused_where_it_differs(folder: Path) -> None:
    assert "error: none.csv: expected a file there" in _ran(folder, "", ROOT).stderr
    stage = folder / "ehap/stages/curves.py"
    stage.write_text(stage.read_text() + "\nEDITED = True\n")
    done = _ran(folder, "", ROOT)
    assert done.returncode == 1
    assert f"the plan is made from {stage}, but Python imports {ROOT / 'ehap/stages/curves.py'}" in done.stderr
