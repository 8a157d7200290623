"""A criterion that is a function of the user's: what can be said of it when the configuration is read."""

import importlib.machinery
from pathlib import Path
from typing import Any

import pytest

from ehap.errors import SettingsError
from ehap.settings import Prune, Run
from ehap.settings.own_criterion import asked
from tests.workflow.conftest import SMALL


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which snakemake runs, with modules of a user's."""
    files = {
        "mine.py": "import nothing_there\n\ndef score(network, *, seed): ...\n\ndef images(labels, images): ...\n"
        "\ndef loose(network, *more): ...\n\ndef other(network, epochs=3): ...\n\nNUMBER = 1\n",
        "package/__init__.py": "",
        "package/inner.py": "def score(images): ...\n",
        "bare/inner.py": "def score(network): ...\n",
        "broken.py": "def score(network:\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / f"fast{importlib.machinery.EXTENSION_SUFFIXES[0]}").write_bytes(b"")
    (tmp_path / "fast.py").write_text("def score(network): ...\n")  # Python takes the compiled one
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_parameters_are_read_from_the_source(folder: Path) -> None:
    assert asked("mine:score", folder) == ("network", "seed")
    assert asked("mine:images", folder) == ("labels", "images")
    assert asked("package.inner:score", folder) == ("images",)
    assert asked("bare.inner:score", folder) == ("network",)


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        (
            "nobody:score",
            "criterion nobody:score: there is no module nobody in .* or in the environment; expected",
        ),
        ("package.outer:score", "there is no module package.outer in .*; expected package/outer.py in the folder"),
        ("mine:absent", r"expected a function def absent\(...\) in .*mine.py; its functions are: score, images"),
        ("mine:NUMBER", r"expected a function def NUMBER\(...\)"),
        ("mine:loose", "loose has the parameter more; expected some of network, images, labels, seed, given by name"),
        ("mine:other", "other has the parameter epochs; expected some of network"),
        ("broken:score", "broken.py is not valid Python"),
        ("fast:score", "fast.*so is compiled, so that edits of its source cannot be seen"),
    ],
)
def test_a_function_that_cannot_be_used_is_refused(folder: Path, criterion: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        asked(criterion, folder)
    config = SMALL | {"methods": SMALL["methods"] | {"random": {"criterion": criterion}}}
    with pytest.raises(SettingsError, match=f"methods.random: criterion {criterion}: "):
        Run(config)


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        ("mine:", "criterion: expected package.module:function, got 'mine:'"),
        ("my module:score", "criterion: expected package.module:function"),
        ("ehap.pruning.scores:magnitude", "is part of ehap; use the name of one of its criteria"),
    ],
)
def test_another_form_is_refused(criterion: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Prune(criterion=criterion, params=0.5)


def test_only_a_function_that_asks_for_images_has_a_batch(folder: Path) -> None:
    methods: dict[str, Any] = {"hap": {"criterion": "mine:score"}, "random": {"criterion": "mine:images"}}
    run = Run(SMALL | {"methods": methods})
    assert run.own_criteria() == ("mine:score", "mine:images")
    cell = ("digits", "resnet20")
    assert [run.own_criterion(*cell, method).batch_size for method in methods] == [0, 16]
    with pytest.raises(SettingsError, match="trace: missing batch_size"):
        Run({name: block for name, block in SMALL.items() if name != "trace"} | {"curvatures": {}, "methods": methods})
    with pytest.raises(SettingsError, match="rounds must be 1 for criterion mine:score, got 2"):
        Prune(criterion="mine:score", params=0.5, rounds=2)
