from pathlib import Path

import pytest

from ehap.workflow import digest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = {
        "workflow_scripts/a.py": "from ehap.one import f\nfrom ehap.deep import three\nf()\n",
        "workflow_scripts/b.py": "import json\n",
        "ehap/__init__.py": "",
        "ehap/one.py": "import ehap.deep.two\ndef f():\n    return 1\n",
        "ehap/deep/__init__.py": "from ehap.deep.three import three\nfrom ehap.deep.four import four\n",
        "ehap/deep/four.py": "four = 4\n",
        "ehap/settings/__init__.py": "from ehap.settings.knobs import knob\n",
        "ehap/settings/knobs.py": "knob = 1\n",
        "ehap/deep/two.py": "VALUE = 2\n",
        "ehap/deep/three.py": "from ehap.settings import knob\nVALUE = 3\nthree = knob\n",
        "ehap/unused.py": "VALUE = 3\n",
        "envs/lock.txt": "# made by a tool\nsnakemake-executor-plugin-slurm==2.8.0\ntorch==2.15.0\n    # via ehap\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def _digest(root: Path, script: str = "a.py") -> str:
    digest._imports.cache_clear()
    digest._code.cache_clear()
    digest._tree.cache_clear()
    return digest.source_digest(root / "workflow_scripts" / script, root, root / "envs/lock.txt")


@pytest.mark.parametrize(
    ("name", "old", "new", "changes"),
    [
        ("workflow_scripts/a.py", "f()", "f(); f()", True),
        ("ehap/one.py", "return 1", "return 2", True),
        ("ehap/deep/two.py", "VALUE = 2", "VALUE = 4", True),
        ("ehap/deep/three.py", "3", "4", True),
        ("ehap/deep/four.py", "4", "5", False),
        ("ehap/settings/knobs.py", "1", "2", False),
        ("envs/lock.txt", "2.15.0", "2.15.1", True),
        ("envs/lock.txt", "2.8.0", "2.8.1", False),
        ("ehap/unused.py", "3", "4", False),
        ("ehap/one.py", "return 1", "# why\n    return  1", False),
        ("ehap/one.py", "def f():\n", 'def f():\n    """Docs."""\n', False),
        ("envs/lock.txt", "# via ehap", "# via another", False),
    ],
)
def test_the_digest_follows_imports_and_ignores_comments(
    root: Path, name: str, old: str, new: str, changes: bool
) -> None:
    before, other = _digest(root), _digest(root, "b.py")
    path = root / name
    path.write_text(path.read_text().replace(old, new, 1) if old else new)
    assert (_digest(root) != before) == changes
    assert (_digest(root, "b.py") != other) == (name == "envs/lock.txt" and changes)
