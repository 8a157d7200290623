"""The protocol of engines, and the places that a new engine touches."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from ehap.artifacts.datasets import Data
from ehap.artifacts.quantized import Quantized
from ehap.data import DATASETS, plain_batches
from ehap.engines.base import Audit, Session
from ehap.engines.registry import ENGINES, engine
from ehap.errors import DeviceError, SettingsError
from ehap.models import INPUT_SHAPE, build_model
from ehap.quantization import SimulatedNetwork, pack_on_noise, unpack
from ehap.settings import Deploy
from ehap.settings.deploy import FURTHER_ENGINES
from ehap.stages.deploy import _Trial
from tests.conftest import enliven_
from tests.quantization.images import SETTINGS, SHAPE, packed_on_images, random_inputs

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class _Loaded:
    """The simulation itself, in place of an engine's form of it."""

    network: SimulatedNetwork
    content: bytes = b"dummy"
    tolerance: float = 0.0

    def run(self, images: Tensor) -> Tensor:
        return self.network(images)

    def audit(self) -> Audit:
        return Audit({"DummyConv": 3, "DummyLinear": 1}, {"DummyPool": 1}, others={"threads": 2})

    def session(self, threads: int = 1) -> Session:
        del threads
        return self.network


class _Dummy:
    name: ClassVar[str] = "dummy"
    package: ClassVar[str] = "torch"
    likes_wide: ClassVar[bool] = True

    def version(self) -> str:
        return "1"

    def export(self, network: SimulatedNetwork, images: Tensor) -> _Loaded:
        assert images.shape[1:] == INPUT_SHAPE
        return _Loaded(network)


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
    with pytest.raises(DeviceError, match="no_such_package is not installed; install it with: pip install no_such_pac"):
        engine("onnxruntime")


def test_a_new_engine_is_an_entry_of_the_registry_and_one_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "dummy", _Dummy)
    monkeypatch.setitem(FURTHER_ENGINES, "dummy", "Dummy")
    extended = make_dataclass(
        "Extended", [("dummy", bool, False)], bases=(Deploy,), frozen=True, kw_only=True
    )  # a field in the class itself, outside of a test
    settings: Any = extended(dummy=True)
    assert settings.further_engines == ("dummy",)
    dense = build_model("resnet20", 10, seed=0).eval()
    enliven_(dense)
    packed, scheme = pack_on_noise(dense, INPUT_SHAPE, DATASETS["digits"])
    images = torch.randint(256, (8, *INPUT_SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    split = images, torch.zeros(8, dtype=torch.int64)
    data = Data(split, split, DATASETS["digits"])
    bits = {name.removesuffix(".weight"): 8 for name in packed if name.endswith(".weight")}
    quantized = Quantized(packed, dense, None, scheme, bits, "sorted")
    with torch.no_grad():
        simulated = torch.cat([quantized.simulated()(inputs) for inputs, _ in plain_batches(*split, data.info)])
    values, shown = _Trial(quantized, dense, data, simulated, 1).further(engine("dummy"), settings)
    assert {name: value.value for name, value in values.items()} == {
        "dummy_accuracy": pytest.approx(100 * (simulated.argmax(1) == 0).double().mean().item()),
        "dummy_mismatches": 0,
        "dummy_difference": 0,
        "dummy_integer_operators": 4,
        "dummy_float_operators.DummyPool": 1,
        "dummy_threads": 2,
    }
    assert shown == {"difference": 0.0, "mismatches": 0, "images": 8}


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
