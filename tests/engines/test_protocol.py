"""The protocol of engines, and the places that a new engine touches."""

import ast
import json
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from torch import nn

from ehap.engines.registry import ENGINES, engine
from ehap.errors import DeviceError, MissingPackageError, SettingsError
from ehap.quantization import unpack
from tests.additions import MOST, ROOT, edited, insert, said
from tests.quantization.images import SETTINGS, SHAPE, packed_on_images, random_inputs

OWN = '''"""A dummy engine: the simulation itself, in place of an engine's form of it."""

from dataclasses import dataclass

from ehap.engines.base import Audit, Engine
from ehap.data import CIFAR_SHAPE
from ehap.quantization.simulation import SimulatedNetwork


@dataclass(frozen=True)
class DummyNetwork:
    network: SimulatedNetwork
    content: bytes = b"dummy"
    tolerance: float = 0.0

    def run(self, images):
        return self.network(images)

    def audit(self):
        return Audit({"DummyConv": 3, "DummyLinear": 1}, {"DummyPool": 1}, others={"threads": 2})

    def session(self, threads=1):
        return self.network


class Dummy(Engine):
    name = "dummy"
    package = "sympy"
    likes_wide = True

    def export(self, network, images):
        assert images.shape[1:] == CIFAR_SHAPE
        return DummyNetwork(network)
'''
ENTRY = """def _dummy() -> Engine:
    from ehap.engines.dummy import Dummy

    return Dummy()


"""
USE = """
import json

import torch

from ehap.artifacts.datasets import Data
from ehap.artifacts.quantized import Quantized
from ehap.data import DATASETS, plain_batches
from ehap.engines.registry import engine
from ehap.data import CIFAR_SHAPE
from ehap.models import build_model
from ehap.quantization import pack_on_noise
from ehap.results.deployment import VALUES
from ehap.settings import Deploy
from ehap.stages.deploy import _Trial
from tests.conftest import enliven_

settings = Deploy(dummy=True)
assert Deploy().further_engines == ()
dense = build_model("resnet20", 10, seed=0).eval()
enliven_(dense)
packed, scheme = pack_on_noise(dense, CIFAR_SHAPE, DATASETS["digits"])
images = torch.randint(256, (8, *CIFAR_SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
split = images, torch.zeros(8, dtype=torch.int64)
data = Data(split, split, DATASETS["digits"])
bits = {name.removesuffix(".weight"): 8 for name in packed if name.endswith(".weight")}
quantized = Quantized(packed, dense, None, scheme, bits, "sorted", CIFAR_SHAPE)
with torch.no_grad():
    simulated = torch.cat([quantized.simulated()(inputs) for inputs, _ in plain_batches(*split, data.info)])
trial = _Trial(quantized, data, simulated, 1)
shown = {}
for name in settings.further_engines:
    values, proof = trial.further(engine(name), settings)
    shown[name] = {key: value.value for key, value in values.items()}, proof, engine(name).version()
wanted = 100 * (simulated.argmax(1) == 0).double().mean().item()
print(json.dumps([wanted, shown, VALUES["dummy_accuracy"]]))
"""


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_exports_runs_audits_and_is_timed(tiny: nn.Module, name: str) -> None:
    packed, images = packed_on_images(tiny), random_inputs(16)
    found = engine(name)
    assert found.name == name
    assert re.match(r"\d+\.\d+", found.version())
    network = found.export(unpack(packed, tiny, SETTINGS, SHAPE), images)
    assert network.content is None or isinstance(network.content, bytes)
    with torch.no_grad():
        wanted = unpack(packed, tiny, SETTINGS, SHAPE)(images)
    logits = network.run(images)
    assert (logits - wanted).abs().max() < max(0.05, min(network.tolerance, 1)) * wanted.abs().max()
    audit = network.audit()
    assert sum(audit.in_integers.values()) >= 7  # the layers
    assert audit.in_float == {}
    assert torch.equal(network.session(torch.get_num_threads())(images), logits)


def test_inductor_refuses_another_number_of_threads_than_it_compiled_for(tiny: nn.Module) -> None:
    network = engine("inductor").export(unpack(packed_on_images(tiny), tiny, SETTINGS, SHAPE), random_inputs(4))
    count = torch.get_num_threads()
    with pytest.raises(DeviceError, match=rf"compiled this network for {count} threads, got {count + 1}; call"):
        network.session(count + 1)


def test_an_unknown_engine_and_a_missing_package_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="unknown engine tvm; choose one of onnxruntime, inductor"):
        engine("tvm")
    monkeypatch.setitem(ENGINES, "onnxruntime", lambda: __import__("no_such_package.core"))
    wanted = "engine onnxruntime: no_such_package is not installed; install it with: pip install no_such_package"
    with pytest.raises(MissingPackageError, match=wanted):
        engine("onnxruntime")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(ENGINES, "onnxruntime", lambda: __import__("onnxruntime"))
    with pytest.raises(MissingPackageError, match=r'it comes with: pip install "ehap\[quantization\]"'):
        engine("onnxruntime")


def _declared(folder: Path) -> set[str]:
    """Return the packages that pyproject.toml names, those of its extras included."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    return {re.split(r"[^\w.-]", package)[0] for packages in lists for package in packages}


@pytest.mark.parametrize("name", ENGINES)
def test_pyproject_names_the_package_of_every_engine(name: str) -> None:
    assert engine(name).package in _declared(ROOT)


def test_a_new_engine_touches_three_files_at_most_and_deploys(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "ehap", tmp_path / "ehap", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "ehap/engines/dummy.py").write_text(OWN)
    insert(tmp_path, "ehap/engines/registry.py", "ENGINES: dict[", ENTRY)
    insert(tmp_path, "ehap/engines/registry.py", '"inductor": _inductor', '"dummy": _dummy, ')
    insert(tmp_path, "ehap/settings/deploy.py", '"inductor": "Inductor"', '"dummy": "Dummy", ')
    insert(tmp_path, "ehap/settings/deploy.py", "    inductor: bool", "    dummy: bool = False\n")
    insert(tmp_path, "ehap/settings/deploy.py", "    inductor: Test", "    dummy: Test the network in a dummy, too.\n")
    insert(tmp_path, "pyproject.toml", '    "scipy', '    "sympy>=1", # the dummy engine\n')
    assert len(edited(tmp_path)) <= MOST
    assert "sympy" in _declared(tmp_path) - _declared(ROOT)
    accuracy, shown, column = json.loads(said(tmp_path, USE))
    assert column == ["in Dummy", "percent"]
    assert list(shown) == ["dummy"]
    values, proof, found = shown["dummy"]
    assert values == {
        "dummy_accuracy": pytest.approx(accuracy),
        "dummy_mismatches": 0,
        "dummy_difference": 0,
        "dummy_integer_operators": 4,
        "dummy_float_operators.DummyPool": 1,
        "dummy_threads": 2,
    }
    assert proof == {"difference": 0.0, "mismatches": 0, "images": 8}
    assert found == version("sympy")


def _words(path: Path) -> Iterator[str]:
    """Yield the names and the text constants of a file, without docstrings and comments."""
    for node in ast.walk(ast.parse(path.read_text())):
        for field in ("id", "attr", "arg", "name", "module", "value", "target"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                yield value


def test_an_engine_is_named_in_three_places_at_most_besides_its_own_file() -> None:
    own = ROOT / "ehap/engines/inductor.py"
    places = {
        str(path.relative_to(ROOT))
        for folder in ("ehap", "workflow_scripts")
        for path in (ROOT / folder).rglob("*.py")
        if path != own and any(re.search(r"(^|\.)inductor(_\w+)?$", word) for word in _words(path))
    }
    assert {"ehap/engines/registry.py", "ehap/settings/deploy.py"} <= places
    assert len(places) <= 3, places
