"""The code that a job runs is the one that its file holds."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflow.conftest import ROOT

SCRIPT = """import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])
{first}from ehap.workflow.code import code_in_memory

print(code_in_memory(Path(__file__), ""))
from ehap.stages import value
print(value.VALUE)
"""


def _said(folder: Path, first: str = "") -> "subprocess.CompletedProcess[str]":
    script = folder / "workflow_scripts/script.py"
    script.write_text(SCRIPT.format(first=first))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [sys.executable, str(script)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _replace_with_equal_time(path: Path, text: str) -> None:
    before = path.stat()
    assert len(text) == before.st_size
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "ehap", tmp_path / "ehap", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "envs").mkdir()
    shutil.copy(ROOT / "envs/lock.txt", tmp_path / "envs")
    (tmp_path / "workflow_scripts").mkdir()
    (tmp_path / "ehap/stages/value.py").write_text("VALUE = 1\n")
    return tmp_path


def test_a_file_of_the_same_size_and_time_is_compiled_anew(checkout: Path) -> None:
    first, value = _said(checkout).stdout.split()
    assert value == "1"
    _replace_with_equal_time(checkout / "ehap/stages/value.py", "VALUE = 2\n")
    second, value = _said(checkout).stdout.split()
    assert value == "2"
    assert second != first


def test_outdated_code_that_is_in_memory_stops_the_job_once(checkout: Path) -> None:
    early = "from ehap.stages import value\n"
    assert _said(checkout, early).stdout.split()[1] == "1"
    _replace_with_equal_time(checkout / "ehap/stages/value.py", "VALUE = 2\n")
    done = _said(checkout, early)
    assert done.returncode == 1
    assert "imported an outdated" in done.stderr
    assert _said(checkout, early).stdout.split()[1] == "2"


def test_code_that_was_only_touched_goes_on(checkout: Path) -> None:
    early = "from ehap.stages import value\n"
    _said(checkout, early)
    for path in (checkout / "ehap").rglob("*.py"):
        path.chmod(0o600)
    assert _said(checkout, early).stdout.split()[1] == "1"
