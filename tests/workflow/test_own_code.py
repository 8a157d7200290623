"""The digest of a job that calls a function of the user's follows that function's code."""

import importlib.machinery
from pathlib import Path

import pytest

from ehap.errors import SettingsError
from ehap.workflow import digest, executed, own_code, syntax
from ehap.workflow.own_code import criterion_of, own_files

FILES = {
    "checkout/workflow_scripts/prune_own.py": "import json\n",
    "checkout/ehap/__init__.py": "",
    "checkout/ehap/pruning/__init__.py": "from ehap.pruning.scores import magnitude\n",
    "checkout/ehap/pruning/scores.py": "magnitude = 1\n",
    "checkout/ehap/pruning/other.py": "other = 1\n",
    "checkout/envs/lock.txt": "torch==2.15.0\n",
    "work/mine.py": "import math, helper\nfrom ehap.pruning import magnitude\ndef score(network):\n    return 1\n",
    "work/helper.py": "from package.deep import one\n",
    "work/package/__init__.py": "START = 1\n",
    "work/package/deep.py": "from . import near\nfrom .two import TWO\none = 1\n",
    "work/package/near.py": "NEAR = 1\n",
    "work/package/two.py": "TWO = 2\n",
    "work/unused.py": "VALUE = 1\n",
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "checkout"


def _digest(root: Path, criterion: str = "mine:score") -> str:
    for each in (*vars(digest).values(), *vars(executed).values(), *vars(syntax).values(), *vars(own_code).values()):
        if hasattr(each, "cache_clear"):
            each.cache_clear()
    return digest.source_digest(root / "workflow_scripts/prune_own.py", root, root / "envs/lock.txt", criterion)


def test_the_files_are_those_that_the_module_imports_from_its_folder(root: Path) -> None:
    names = ["mine", "helper", "package", "package.deep", "package.near", "package.two"]
    assert set(own_files("mine:score", root)) == set(names)
    assert own_files("", root) == {}


EDITS = (
    "work/mine.py: return 1 -> return 2",
    "work/helper.py: import one -> import one as two",
    "work/package/__init__.py: START = 1 -> START = 2",
    "work/package/near.py: NEAR = 1 -> NEAR = 2",
    "work/package/two.py: TWO = 2 -> TWO = 3",
    "checkout/ehap/pruning/scores.py: 1 -> 2",
)
IDLE = (
    "checkout/ehap/pruning/other.py: 1 -> 2",
    "work/unused.py: 1 -> 2",
    "work/mine.py: return 1 -> return  1  # one",
)


@pytest.mark.parametrize("edit", EDITS + IDLE)
def test_an_edit_changes_the_digest_of_methods_that_use_it(root: Path, edit: str) -> None:
    before, other = _digest(root), _digest(root, "")
    name, change = edit.split(": ")
    old, new = change.split(" -> ")
    path = root.parent / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert (_digest(root) != before) == (edit in EDITS)
    assert _digest(root, "") == other


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("import importlib", "mine.py, line 2: importlib runs code that cannot be followed"),
        ("from importlib import import_module as f", "mine.py, line 2: importlib runs code that cannot be followed"),
        ("__import__('helper')", "mine.py, line 2: __import__ runs code that cannot be followed"),
        ("exec('1')", "mine.py, line 2: exec runs code that cannot be followed"),
        ("import fast", r"fast.*so is compiled, so that edits of its source cannot be seen"),
        ("import broken", "broken.py is not valid Python"),
        ("from ehap import prune", "mine.py, line 2: names of ehap itself cannot be followed; import from the mod"),
        ("import ehap", "mine.py, line 2: names of ehap itself cannot be followed"),
    ],
)
def test_what_cannot_be_followed_is_refused(root: Path, line: str, message: str) -> None:
    work = root.parent / "work"
    (work / f"fast{importlib.machinery.EXTENSION_SUFFIXES[0]}").write_bytes(b"")
    (work / "broken.py").write_text("def\n")
    (work / "mine.py").write_text(f"def score(network): ...\n{line}\n")
    with pytest.raises(SettingsError, match=f"criterion mine:score: .*{message}"):
        _digest(root)


def test_packages_of_ehap_and_methods_called_eval_are_no_obstacle(root: Path) -> None:
    text = "from ehap import pruning\nimport ehap.pruning.other\ndef score(network):\n    network.eval()\n"
    (root.parent / "work/mine.py").write_text(text)
    before = _digest(root)
    (root / "ehap/pruning/other.py").write_text("other = 2\n")
    assert _digest(root) != before


def test_the_criterion_of_a_job_is_found_in_its_settings() -> None:
    assert criterion_of({"prune": {"criterion": "mine:score"}, "batch_size": 0}) == "mine:score"
    assert criterion_of({"criterion": "mine:score"}) == "mine:score"
    assert criterion_of({"criterion": "random"}) == criterion_of({"bits": 8}) == criterion_of(None) == ""
