"""What changes the digest of a script, and what does not."""

import re
import shutil
import textwrap
from pathlib import Path

import pytest

from ehap.errors import CodeError
from ehap.workflow import digest, executed, syntax

ROOT = Path(__file__).parents[2]
KNOBS = """
    from dataclasses import dataclass
    from typing import ClassVar, Literal
    from ehap.errors import SettingsError
    from ehap.settings.checks import at_least, half

    PLAIN, UNUSED = 1, 2
    NAMES = ["one"]
    NAMES.append("two")
    Kind = Literal["a", "b"]

    @dataclass(frozen=True)
    class Base:
        low: int = 3
        def of_base(self):
            return self.low

    @dataclass(frozen=True)
    class Inner:
        depth: int = 4
        def of_inner(self):
            return self.depth

    @dataclass(frozen=True)
    class Knob(Base):
        name: str
        width: int = 5
        kind: Kind = "a"
        inner: Inner | None = None
        FACTOR: ClassVar[int] = 6
        LEAST: ClassVar[int] = 7

        def __post_init__(self):
            at_least("width", self.width, self.LEAST)
            self._check()

        @property
        def cost(self):
            return half(self._weighed())

        def _weighed(self):
            return self.width * self.FACTOR * PLAIN

        def _check(self):
            raise SettingsError("no")

    def helper(knob):
        return knob.width
"""
CHECKS = """
    TWO = 9
    def at_least(name, value, low):
        low + 8
    def half(x):
        return x / TWO
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = {
        "workflow_scripts/a.py": "from ehap.one import f\nfrom ehap.deep import three\nf()\n",
        "workflow_scripts/b.py": "import json\n",
        "ehap/__init__.py": "",
        "ehap/one.py": "import ehap.deep.two as two\ndef f():\n    return 1\n",
        "ehap/deep/__init__.py": "from ehap.deep.three import three\nfrom ehap.deep.four import four\n",
        "ehap/deep/four.py": "four = 4\n",
        "ehap/settings/__init__.py": "from ehap.settings.knobs import Knob, NAMES, helper\n",
        "ehap/settings/knobs.py": textwrap.dedent(KNOBS),
        "ehap/settings/checks.py": textwrap.dedent(CHECKS),
        "ehap/settings/run.py": "class Run:\n    def one(self):\n        return 10\n",
        "ehap/deep/two.py": "VALUE = 2\n",
        "ehap/deep/three.py": "from ehap.settings import Knob\nVALUE = 3\nthree = Knob\n",
        "ehap/unused.py": "VALUE = 3\n",
        "envs/lock.txt": "# made by a tool\ntorch==2.15.0\n    # via ehap\nnumpy==2.1 ; python_version < '4'\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def _digest(root: Path, script: str = "a.py") -> str:
    for each in (*vars(digest).values(), *vars(executed).values(), *vars(syntax).values()):
        if hasattr(each, "cache_clear"):
            each.cache_clear()
    return digest.source_digest(root / "workflow_scripts" / script, root, root / "envs/lock.txt")


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("name", "old", "new", "changes"),
    [
        ("workflow_scripts/a.py", "\nf()", "\nf(); f()", True),
        ("ehap/one.py", "return 1", "return 2", True),
        ("ehap/deep/two.py", "VALUE = 2", "VALUE = 4", True),
        ("ehap/deep/three.py", "3", "4", True),
        ("ehap/deep/four.py", "4", "5", False),
        ("envs/lock.txt", "2.15.0", "2.15.1", True),
        ("envs/lock.txt", "< '4'", "< '5'", True),
        ("ehap/unused.py", "3", "4", False),
        ("ehap/one.py", "return 1", "# why\n    return  1", False),
        ("ehap/one.py", "def f():\n", 'def f():\n    """Docs."""\n', False),
        ("envs/lock.txt", "# via ehap", "# via another", False),
        ("envs/lock.txt", "2.15.0\n", "2.15.0 \\\n    --hash=sha256:ab==cd \\\n    --hash=sha256:ef\n", False),
        ("envs/lock.txt", "< '4'", "< '4' \\\n    --hash=sha256:ab", False),
        ("envs/lock.txt", "2.15.0", "2.15.0  # pinned by hand", False),
        ("envs/lock.txt", "# made", "--index-url https://example.org\n# made", False),
    ],
)
def test_the_digest_follows_imports_and_ignores_comments(
    root: Path, name: str, old: str, new: str, changes: bool
) -> None:
    before, other = _digest(root), _digest(root, "b.py")
    _edit(root / name, old, new)
    assert (_digest(root) != before) == changes
    assert (_digest(root, "b.py") != other) == (name == "envs/lock.txt" and changes)


@pytest.mark.parametrize(
    ("file", "old", "new", "changes"),
    [
        ("knobs", "half(self._weighed())", "half(self._weighed()) + 1", True),
        ("knobs", "self.width * self.FACTOR", "self.width + self.FACTOR", True),
        ("knobs", "FACTOR: ClassVar[int] = 6", "FACTOR: ClassVar[int] = 60", True),
        ("knobs", "PLAIN, UNUSED = 1", "PLAIN, UNUSED = 11", True),
        ("knobs", "return self.low", "return -self.low", True),
        ("knobs", "return self.depth", "return -self.depth", True),
        ("knobs", "    @property\n", "", True),
        ("knobs", "class Knob(Base)", "class Knob", True),
        ("checks", "x / TWO", "x / TWO / 2", True),
        ("checks", "TWO = 9", "TWO = 90", True),
        ("knobs", "class Knob(Base):\n", "class Knob(Base):\n    further: int = 1\n", False),
        ("knobs", "width: int = 5", "width: int = 50", False),
        ("knobs", "low: int = 3", "low: int = 30", False),
        ("knobs", "depth: int = 4", "depth: int = 40", False),
        ("knobs", 'Literal["a", "b"]', 'Literal["a", "b", "c"]', False),
        ("knobs", "LEAST: ClassVar[int] = 7", "LEAST: ClassVar[int] = 70", False),
        ("knobs", "self._check()", "self._check() or self._check()", False),
        ("knobs", 'SettingsError("no")', 'SettingsError("not so")', False),
        ("knobs", "return knob.width", "return -knob.width", False),
        ("knobs", '["one"]', '["three"]', False),
        ("knobs", "import ClassVar, Literal", "import ClassVar, Final, Literal", False),
        ("checks", "low + 8", "low + 80", False),
        ("run", "return 10", "return 100", False),
    ],
)
def test_of_settings_that_code_counts_which_a_script_may_execute(
    root: Path, file: str, old: str, new: str, changes: bool
) -> None:
    before, other = _digest(root), _digest(root, "b.py")
    _edit(root / "ehap/settings" / f"{file}.py", old, new)
    assert (_digest(root) != before) == changes
    assert _digest(root, "b.py") == other


@pytest.mark.parametrize(
    ("code", "old", "new", "changes"),
    [
        ("from ehap.settings.knobs import PLAIN\nPLAIN", "UNUSED = 1, 2", "UNUSED = 11, 2", True),
        ("from ehap.settings import helper\nhelper(1)", "return knob.width", "return -knob.width", True),
        ("from ehap.settings import helper as h\nh(1)", "return knob.width", "return -knob.width", True),
        ("from ehap.settings import NAMES\nNAMES", '["one"]', '["three"]', True),
        ("from ehap.settings import NAMES\nNAMES", 'append("two")', 'append("three")', True),
        ("from ehap.settings import helper", "return knob.width", "return -knob.width", True),  # handed on
        ("from ehap.settings import knobs\nknobs.helper(1)", "return knob.width", "return -knob.width", True),
        ("import ehap.settings.knobs as k\nk.helper(1)", "knob.width", "-knob.width", True),
        ("def f(x):\n    from ehap.settings import helper\n    helper(x)", "knob.width", "-knob.width", True),
        ("from ehap.settings import Knob\ndef f(x: Knob):\n    x.cost", "half(", "-half(", False),  # made elsewhere
        ("from ehap.settings import Knob\nKnob(name='a').width", "width: int = 5", "width: int = 50", True),
        ("from ehap.settings import Knob\nKnob(name='a').low", "low: int = 3", "low: int = 30", True),
        ("from ehap.settings import Knob\nKnob(width=1).width", "width: int = 5", "width: int = 50", False),
        ("from ehap.settings import Knob\nKnob(width=1)", "kind: Kind", "further: int = 1\n    kind: Kind", False),
        ("from ehap.settings import Knob\nisinstance(1, Knob)", "half(", "-half(", False),
        ("from ehap.settings import Knob\nprint(Knob)", "self._check()", "self._check() + 1", False),
        ("from ehap.settings import Knob\nprint(Knob)\nx._check()", 'Error("no")', 'Error("not so")', True),
    ],
)
def test_ways_to_name_a_setting(root: Path, code: str, old: str, new: str, changes: bool) -> None:
    (root / "workflow_scripts/c.py").write_text(code)
    before = _digest(root, "c.py")
    _edit(root / "ehap/settings/knobs.py", old, new)
    assert (_digest(root, "c.py") != before) == changes


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import ehap", "import ehap"),
        ("import ehap.one", "import ehap.one"),
        ("import json, ehap as e", "import ehap"),
        ("from ehap import deep", "from ehap import"),
        ("def f():\n    from ehap import deep as d", "from ehap import"),
        ("from . import deep", "from . import"),
        ("from .deep import two", "from .deep import"),
        ("import importlib\nimportlib.import_module('ehap.deep.two')", "import_module()"),
        ("from importlib import import_module\nimport_module(f'ehap.{1}')", "import_module()"),
        ("import importlib\nimportlib.import_module('.two', 'ehap.deep')", "import_module()"),
        ("__import__('ehap.' + 'deep')", "__import__()"),
        ("name = 'ehap.deep'\n__import__(name)", "__import__()"),
    ],
)
def test_an_import_that_cannot_be_followed_is_refused_wherever_a_script_reaches_it(
    root: Path, code: str, found: str
) -> None:
    (root / "ehap/deep/two.py").write_text(code)
    with pytest.raises(CodeError, match=rf"ehap/deep/two\.py, line [12]: {re.escape(found)} hides"):
        _digest(root)
    assert _digest(root, "b.py")  # which does not reach it


@pytest.mark.parametrize(
    "code", ["import importlib\nimportlib.import_module('numpy.linalg')", "import ehap.one as one"]
)
def test_other_imports_are_followed_or_none_of_ours(root: Path, code: str) -> None:
    (root / "ehap/deep/two.py").write_text(code)
    assert _digest(root)


@pytest.mark.parametrize(
    ("script", "file", "old", "new", "changes"),
    [
        ("qat.py", "scheme.py", "if bits <= HALF_BYTE", "if bits < HALF_BYTE", True),
        ("qat.py", "scheme.py", "self.activation_bits or self.bits", "self.bits", True),
        ("qat.py", "scheme.py", "1.0 if budget is None", "2.0 if budget is None", True),
        ("qat.py", "qat.py", "FEWEST_EPOCHS: ClassVar[int] = 0", "FEWEST_EPOCHS: ClassVar[int] = 1", False),
        ("qat.py", "scheme.py", "budgets[0]} is a budget", "budgets[0]} must be a budget", False),
        ("qat.py", "training.py", 'positive("learning_rate"', 'at_least("learning_rate"', False),
        ("qat.py", "build.py", "return float(value)", "return float(value) + 1", True),
        ("qat.py", "criteria.py", '"A uniform draw."', '"A draw."', False),
        ("prune.py", "criteria.py", '"A uniform draw."', '"A draw."', False),
        ("prune.py", "renamed.py", '("prune", "weights")', '("prune", "width")', False),
        ("pretrain.py", "scheme.py", "if bits <= HALF_BYTE", "if bits < HALF_BYTE", False),
        ("tables.py", "run.py", "yield from map(self.prepare, grid.datasets)", "yield 1", False),
        ("tables.py", "names.py", '"CIFAR-10"', '"CIFAR 10"', True),
        ("finetune.py", "names.py", '"CIFAR-10"', '"CIFAR 10"', False),
        ("tables.py", "stages.py", 'only="timed"', 'only=""', True),
        ("finetune.py", "stages.py", 'only="timed"', 'only=""', False),
    ],
)
def test_edits_of_the_settings_of_this_project(
    tmp_path: Path, script: str, file: str, old: str, new: str, changes: bool
) -> None:
    for part in ("ehap", "workflow_scripts", "envs"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    before = _digest(tmp_path, script)
    _edit(tmp_path / "ehap/settings" / file, old, new)
    assert (_digest(tmp_path, script) != before) == changes


def test_benchmarks_are_followed_too() -> None:
    """The costs that a session on a GPU measures depend on the ways of the benchmark of traces."""
    reached = {str(path.relative_to(ROOT)) for path in digest.source_files(ROOT / "ehap/session/costs.py", ROOT)}
    assert "benchmarks/trace_ways.py" in reached


def test_a_pin_of_another_form_is_refused(root: Path) -> None:
    (root / "envs/lock.txt").write_text("torch==2.0\nmine @ https://example.org/mine.whl\n")
    with pytest.raises(CodeError, match="expected lines of the form name==version, got 'mine @ https"):
        _digest(root)
