"""Packages outside the core: each has an extra, and is named where it is missing."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ehap.data import read_dataset
from ehap.errors import EhapError, MissingPackageError
from ehap.runtime.extras import EXTRAS, missing_package, named, packages_named

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = {
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "vl_convert": "vl-convert-python",
    "dvc_objects": "dvc-objects",
    "snakemake_interface_executor_plugins": "snakemake-interface-executor-plugins",
}
"""Packages that pip knows under another name than Python."""
CORE = {"torch", "numpy", "safetensors", "tqdm"}
LAYERS = "curvature pruning repair graph settings runtime records models artifacts.dense artifacts.pruned data"
HIDE = f"""
import importlib, pkgutil, runpy, sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {set(EXTRAS)}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
"""


def _brought() -> dict[str, set[str]]:
    """Return the packages of each extra in pyproject.toml, and those of the core under an empty name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: {re.split(r"[^\w.-]", line)[0] for line in lines} for extra, lines in lists.items()}


def _imported(path: Path) -> Iterator[str]:
    """Yield the packages that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        yield from (name.partition(".")[0] for name in names)


def test_the_core_is_four_packages() -> None:
    assert _brought()[""] == CORE


def test_every_package_that_the_code_imports_is_in_the_core_or_has_an_extra() -> None:
    found = {name for path in (ROOT / "ehap").rglob("*.py") for name in _imported(path)}
    others = found - set(sys.stdlib_module_names) - {"ehap", "benchmarks"}
    assert others >= CORE | {"torchao", "pandas", "snakemake"}  # imports were read at all
    assert others - CORE <= set(EXTRAS)


def test_the_table_is_that_of_pyproject() -> None:
    brought = _brought()
    for package, extra in EXTRAS.items():
        assert DISTRIBUTIONS.get(package, package) in brought[extra], package
    for extra in ("quantization", "report", "openvino", "cli", "tensorboard"):
        assert {DISTRIBUTIONS.get(name, name) for name, its in EXTRAS.items() if its == extra} == brought[extra]


def test_the_workflow_brings_what_its_stages_import() -> None:
    lines = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["workflow"]
    assert "ehap[quantization,report]" in lines


def test_a_missing_package_is_named_with_its_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchao", None)
    with pytest.raises(MissingPackageError) as raised, packages_named():
        import torchao.quantization  # noqa: F401
    assert str(raised.value) == 'torchao is not installed; it comes with: pip install "ehap[quantization]"'
    assert isinstance(raised.value, EhapError)
    assert isinstance(raised.value, ImportError)
    assert raised.value.name == "torchao"


def test_other_missing_modules_are_not_renamed() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_package"), packages_named():
        import no_such_package  # noqa: F401
    with pytest.raises(ModuleNotFoundError, match=r"onnx\.no_such_part") as raised, packages_named():
        import onnx.no_such_part  # noqa: F401
    assert missing_package(raised.value) == ""  # onnx itself is there
    assert named(ModuleNotFoundError("without a name")) is None


@pytest.mark.parametrize("dataset", ["cifar10", "digits"])
def test_datasets_name_the_package_of_their_reader(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("torchvision", "sklearn")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("torchvision", "sklearn"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackageError, match=r'it comes with: pip install "ehap\[workflow\]"'):
        read_dataset(dataset, tmp_path, False)


def _said(code: str) -> subprocess.CompletedProcess[str]:
    """Execute code in a Python without the packages of extras."""
    return subprocess.run([sys.executable, "-c", HIDE + code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_core_imports_nothing_of_an_extra() -> None:
    code = f"""
for name in {LAYERS.split()}:
    module = importlib.import_module("ehap." + name)
    for each in pkgutil.walk_packages(getattr(module, "__path__", ()), module.__name__ + "."):
        importlib.import_module(each.name)
        print(each.name)
"""
    done = _said(code)
    assert done.returncode == 0, done.stderr
    assert "ehap.pruning.surgery" in done.stdout.split()


def test_the_command_names_a_missing_package_in_one_line() -> None:
    code = "sys.argv[1:] = ['pull', 'demo']; runpy.run_module('ehap.workflow', run_name='__main__', alter_sys=True)"
    done = _said(code)
    assert done.returncode == 1
    assert done.stderr.strip() == 'error: yaml is not installed; it comes with: pip install "ehap[workflow]"'


def test_a_job_names_a_missing_package_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "dense").touch()
    arguments = ["workflow_scripts/curves.py", "--dataset", "digits", "--settings", '{"methods": []}']
    arguments += ["--input", f"dense={tmp_path / 'dense'}"]
    arguments += [part for name in ("picture", "sources") for part in ("--output", f"{name}={tmp_path / name}")]
    done = _said(f"sys.argv = {arguments}; runpy.run_path(sys.argv[0], run_name='__main__')")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert line.endswith('is not installed; it comes with: pip install "ehap[report]"')
