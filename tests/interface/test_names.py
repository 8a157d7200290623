"""The public names: what they are, where they come from, and what they take."""

import ast
import doctest
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ehap

ROOT = Path(__file__).parents[2]
NAMES = {
    "channel_scores": "model images labels criterion with_magnitude approximate seed",
    "plan": "model scores budget limits balance residual example",
    "Budget": "prune_ratio params flops fill",
    "Limits": "prune_ratio_limit min_channels round_to",
    "PruningPlan": None,
    "prune": "model plan example",
    "reconstruct": "network teacher plan images ridge positions held_out seed",
    "distill": (
        "network teacher images steps learning_rate momentum weight_decay batch_size temperature warmup augment "
        "padding seed"
    ),
    "Scheme": "bits activation_bits mix size bit_operations norms",
    "quantize": "network scheme images",
    "prepare_qat": "network scheme images range_momentum",
    "export": "network path example round_to",
    "verify": "found wanted images plan tolerance",
    "save": "network plan path example",
    "load": "path model",
    "load_plan": "path",
    "EhapError": None,
    "ArchitectureError": None,
    "ArgumentError": None,
    "CheckpointError": None,
    "DataError": None,
    "DeviceError": None,
    "MismatchError": None,
    "MissingPackageError": None,
    "NumericsError": None,
    "PlanError": None,
    "ReadError": None,
    "SettingsError": None,
    "WriteError": None,
}
"""Users' programs hold these names: what is missing or called otherwise here breaks them. A new name is added here."""


def test_the_public_names_are_these() -> None:
    assert set(ehap.__all__) == set(NAMES)
    assert set(NAMES) <= set(dir(ehap))
    assert all(hasattr(ehap, name) for name in NAMES)
    assert not hasattr(ehap, "Prune")


@pytest.mark.parametrize("name", [name for name, arguments in NAMES.items() if arguments is not None])
def test_their_arguments_are_these(name: str) -> None:
    assert list(inspect.signature(getattr(ehap, name)).parameters) == str(NAMES[name]).split()


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((ROOT / "ehap/__init__.pyi").read_text())
    found = {
        alias.asname: f"{node.module}.{alias.name}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert found == {name: f"ehap.{home}.{name}" for name, home in ehap._HOMES.items()}
    assert (ROOT / "ehap/py.typed").exists()


def test_the_package_alone_imports_no_torch() -> None:
    code = "import sys, ehap; dir(ehap); assert not {'torch', 'numpy'} & set(sys.modules), sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name[0].islower()] + ["Budget", "Limits", "PruningPlan", "Scheme"]
)
def test_docstrings_have_an_example_that_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    item = getattr(ehap, name)
    examples = doctest.DocTestFinder(recurse=False).find(item, name, globs={})
    assert examples[0].examples
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    failures = [runner.run(each).failed for each in examples]
    assert not sum(failures)


def test_functions_say_what_they_take_return_and_raise() -> None:
    for name in NAMES:
        text = inspect.getdoc(getattr(ehap, name)) or ""
        assert text
        if name[0].islower():
            assert "Args:" in text
            assert "Raises:" in text


def test_labels_count_only_where_a_criterion_needs_them() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 2)).eval()
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    wanted = ehap.channel_scores(model, images)
    for labels in (torch.randn(4, 4), torch.full((4,), 50), torch.tensor(1)):  # boxes, finer classes, one number
        found = ehap.channel_scores(model, [(images, labels)])
        assert all(torch.equal(found[layer], scores) for layer, scores in wanted.items())
