"""Networks of the workflow's files, opened without the workflow."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ehap.artifacts.dense import architecture, load_dense, save_model
from ehap.artifacts.networks import load_network
from ehap.artifacts.quantized import load_quantized
from ehap.data import DATASETS
from ehap.errors import CheckpointError
from ehap.models import build_model
from ehap.pruning import prune
from ehap.quantization import SimulatedNetwork, called_layers, pack, prepare_qat, to_tensors
from ehap.records import Identity, read_tensors, write_record, write_tensors
from ehap.settings import Qat
from tests.pruning.plans import random_plan

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "measurements/nvidia-h200/cifar_runners/pretrain/cifar10/resnet20/seed0/model.safetensors"
CELL = Identity(stage="", dataset="digits", model="resnet20", seed=3, method="half", scheme="int4")
SHAPE = DATASETS["digits"].input_shape
SETTINGS = Qat(epochs=0, learning_rate=0.01, calibration_images=8, bits=4, activation_bits=8)


def images() -> Tensor:
    return torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def dense(enliven: Callable[[nn.Module], None]) -> nn.Module:
    network = build_model("resnet20", 10, seed=3)
    enliven(network)
    return network.eval()


@pytest.fixture
def quantized(dense: nn.Module, tmp_path: Path) -> Path:
    """Integers of a pruned network, and the record beside them, as the stage writes both."""
    kept = random_plan(dense, 0)
    small = prune(dense, kept)
    bits = dict.fromkeys(called_layers(small), SETTINGS.bits)
    simulated = prepare_qat(small, SETTINGS, SHAPE)
    with torch.no_grad():
        simulated(images())
    packed = pack(simulated, small)
    metadata = {**architecture(CELL, kept), "bits": SETTINGS.bits, "method": CELL.method, "scheme": CELL.scheme}
    write_tensors(tmp_path / "weights.safetensors", to_tensors(packed, bits), metadata)
    write_record(tmp_path / "record.json", replace(CELL, stage="qat"), {}, SETTINGS, torch.device("cpu"))
    return tmp_path / "weights.safetensors"


@torch.no_grad()
def test_a_dense_network_of_a_run_opens_without_its_cell() -> None:
    wanted = load_dense(COMMITTED, Identity(stage="", dataset="cifar10", model="resnet20", seed=0)).eval()
    for model in (None, build_model("resnet20", 10, seed=1)):
        found = load_network(COMMITTED, model)
        assert not found.training
        assert torch.equal(found(images()), wanted(images()))


@torch.no_grad()
@pytest.mark.parametrize("order", ["sorted", "set"])
def test_a_pruned_network_of_a_run_opens(order: str, dense: nn.Module, tmp_path: Path) -> None:
    kept = random_plan(dense, 1)
    small = prune(dense, kept, order)  # type: ignore[arg-type]
    path = tmp_path / "model.safetensors"
    save_model(path, small, {**architecture(CELL, kept), **({} if order == "sorted" else {"order": order})})
    for model in (None, build_model("resnet20", 10, seed=1)):
        assert torch.equal(load_network(path, model)(images()), small(images()))
    with pytest.raises(CheckpointError, match="the given model is another network"):
        load_network(path, build_model("resnet32", 10, seed=1))


@torch.no_grad()
def test_integers_of_a_run_open_by_the_record_beside_them(quantized: Path, dense: nn.Module) -> None:
    wanted = load_quantized(quantized, quantized.with_name("record.json"), CELL).simulated()
    for model in (None, dense):
        found = load_network(quantized, model)
        assert isinstance(found, SimulatedNetwork)
        assert not found.training
        assert torch.equal(found(images()), wanted(images()))
        assert all(each.isnan().all() for each in found.original.parameters())
        assert (found.scheme.bits, found.scheme.width_of_activations) == (4, 8)


def test_integers_without_their_record_are_refused(quantized: Path) -> None:
    record = quantized.with_name("record.json")
    content = json.loads(record.read_text())
    for text, words in (
        ("{", "scheme stands in the record beside it"),
        (json.dumps({**content, "settings": {"bits": 4}}), "scheme stands in the record beside it"),
        (json.dumps({**content, "settings": {**content["settings"], "bits": 8}}), "expected integers of scheme"),
        (json.dumps({**content, "seed": 4}), "is the record of another network: its seed is 4"),
        (json.dumps({**content, "scheme": "int8"}), "its scheme is 'int8'"),
        (json.dumps([1]), "scheme stands in the record beside it"),
    ):
        record.write_text(text)
        with pytest.raises(CheckpointError, match=words) as raised:
            load_network(quantized)
        assert "\n" not in str(raised.value)
    record.unlink()
    with pytest.raises(CheckpointError, match=r"record\.json"):
        load_network(quantized)


def test_weights_of_another_network_under_a_cells_name_are_refused(dense: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    tensors = dict(dense.state_dict())
    for name, changed in (
        ("extra", {**tensors, "more": torch.ones(1)}),
        ("missing", {name: each for name, each in tensors.items() if name != "fc.bias"}),
        ("shape", {**tensors, "fc.bias": torch.ones(11)}),
        ("type", {**tensors, "fc.bias": torch.ones(10, dtype=torch.int32)}),
    ):
        write_tensors(path, changed, architecture(CELL, None))
        with pytest.raises(CheckpointError, match=r"fc\.bias|more") as raised:
            load_network(path)
        assert "\n" not in str(raised.value), name


ALONE = """
import sys, torch, ehap
print(ehap.load(sys.argv[1])(torch.ones(1, 3, 32, 32)).shape)
others = {"torchao", "torchvision", "onnx", "pandas", "yaml", "snakemake", "dvc", "scipy", "sklearn"}
assert not others & set(sys.modules)
"""


def test_opening_a_file_imports_no_part_of_the_workflow() -> None:
    found = subprocess.run(
        [sys.executable, "-c", ALONE, str(COMMITTED)], check=True, cwd=ROOT, capture_output=True, text=True
    )
    assert found.stdout == "torch.Size([1, 10])\n"


def test_a_damaged_file_of_a_run_is_refused(tmp_path: Path) -> None:
    content = bytearray(COMMITTED.read_bytes())
    content[-5] ^= 1
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="wrong checksum"):
        load_network(tmp_path / "model.safetensors")
    assert read_tensors(COMMITTED)[1]["seed"] == 0
