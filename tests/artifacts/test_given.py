"""Dense networks that start from weights made elsewhere."""

import argparse
import json
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ehap.artifacts.datasets import load_data
from ehap.artifacts.dense import load_dense
from ehap.errors import CheckpointError
from ehap.evaluation import accuracy
from ehap.models import build_model
from ehap.records import Identity
from ehap.settings import Pretrain
from ehap.stages import pretrain
from tests.jobs import job_of, recorded, write_images

CELL = Identity(stage="pretrain", dataset="digits", model="resnet20", seed=0)
OUTPUTS = "checkpoint history record"
State = dict[str, Tensor]
BESIDE = (
    numpy.float64(91.2),
    numpy.float32(91.2),
    numpy.int64(3),
    numpy.bool_(True),
    numpy.arange(3.0),
    argparse.Namespace(epochs=3),
    Path("runs/1"),
)
"""What checkpoints hold beside the weights."""


def _renamed(state: State, prefix: str) -> State:
    return {f"{prefix}{name}": tensor.clone() for name, tensor in state.items()}


def _optimizer(state: State) -> dict[str, Any]:
    """The state of an optimizer that has made a step."""
    weight = nn.Parameter(state["fc.weight"].clone())
    optimizer = torch.optim.Adam([weight])
    weight.sum().backward()
    optimizer.step()
    return optimizer.state_dict()


def _run(folder: Path, weights: Path, epochs: int = 0) -> None:
    if not (folder / "data").exists():
        write_images(folder / "data", 20, 20)
    settings = Pretrain(epochs=epochs, learning_rate=0.1, batch_size=10, weights=str(weights))
    inputs = {"data": folder / "data", "weights": weights}
    pretrain.run(job_of(folder, settings, CELL, inputs, OUTPUTS))


@pytest.fixture
def network(enliven: Callable[[nn.Module], None]) -> nn.Module:
    model = build_model("resnet20", 10, seed=7)
    enliven(model)
    return model


@pytest.mark.parametrize(
    "save",
    [
        lambda state, path: save_file({name: tensor.clone() for name, tensor in state.items()}, path),
        torch.save,
        lambda state, path: torch.save({"epoch": 3, "best": 91.2, "state_dict": state}, path),
        lambda state, path: torch.save({"model": state}, path),
        lambda state, path: torch.save(OrderedDict((f"module.{name}", state[name]) for name in state), path),
        lambda state, path: torch.save(_renamed(state, "_orig_mod."), path),
        lambda state, path: torch.save(_renamed(state, "module._orig_mod."), path),
        lambda state, path: torch.save(_renamed(state, "_orig_mod.module.module._orig_mod."), path),
        lambda state, path: torch.save({"state_dict": _renamed(state, "model._orig_mod.")}, path),  # as Lightning does
        lambda state, path: save_file(_renamed(state, "_orig_mod."), path),
        lambda state, path: torch.save(
            {name.replace("layer1.", "layer1._orig_mod."): state[name] for name in state}, path
        ),
        lambda state, path: torch.save({"n_averaged": torch.tensor(3), **_renamed(state, "module.")}, path),
        *(lambda state, path, value=value: torch.save({"state_dict": state, "best": value}, path) for value in BESIDE),
        *(
            lambda state, path, key=key: torch.save({"epoch": 3, key: state, "optimizer": _optimizer(state)}, path)
            for key in ("net", "network", "model_state_dict", "weights", "ema")
        ),
        lambda state, path: torch.save({"model": {"state_dict": state}, "loss": torch.tensor(1.0)}, path),
        lambda state, path: torch.save({"epoch": 3, **state}, path),
        lambda state, path: torch.save({name: state[name].numpy() for name in state}, path),
        lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
        lambda state, path: torch.save({name: state[name] for name in state if "num_batches" not in name}, path),
    ],
)
def test_weights_of_every_form_become_the_dense_network_as_they_are(
    tmp_path: Path, network: nn.Module, save: Callable[[State, Path], None]
) -> None:
    save(dict(network.state_dict()), tmp_path / "mine")
    _run(tmp_path, tmp_path / "mine")
    found = load_dense(tmp_path / "checkpoint", CELL).state_dict()
    assert all(
        torch.equal(tensor, found[name]) for name, tensor in network.state_dict().items() if "num_batches" not in name
    )
    record = json.loads((tmp_path / "record").read_text())
    assert record["settings"]["weights"] == str(tmp_path / "mine")
    data = load_data(job_of(tmp_path, None, CELL, "data"), torch.device("cpu"))
    assert recorded(tmp_path / "record")["accuracy"] == accuracy(network, data.test, data.info)
    assert len((tmp_path / "history").read_text().splitlines()) == 1


def test_training_goes_on_from_them(tmp_path: Path, network: nn.Module) -> None:
    torch.save(network.state_dict(), tmp_path / "mine")
    _run(tmp_path, tmp_path / "mine", epochs=1)
    trained = load_dense(tmp_path / "checkpoint", CELL).fc.weight
    new = build_model("resnet20", 10, seed=0).fc.weight
    assert 0 < (trained - network.fc.weight).norm() < (trained - new).norm()


def _without(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if name != "fc.bias"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without, r'its tensors do not fit resnet20 .*Missing key\(s\) in state_dict: "fc.bias"'),
        (lambda state: state | {"fc.bias": torch.zeros(100)}, "its tensors do not fit resnet20 .*size mismatch"),
        (lambda state: state | {"fc.bias": torch.full((10,), torch.nan)}, "fc.bias holds NaN or Inf"),
        (lambda state: {"epoch": 3, "best": 91.2}, "expected a state dict, .* got a mapping with the keys epoch, best"),
        (
            lambda state: {"model": state, "model_ema": state, "optimizer": _optimizer(state)},
            r"the weights of several such networks \(model, model_ema\); save its state dict alone: torch.save",
        ),
        (
            lambda state: {"model": _without(state), "optimizer": _optimizer(state)},
            r'its tensors do not fit resnet20 .*Missing key\(s\) in state_dict: "fc.bias"',
        ),
        (
            lambda state: state | {"module.fc.bias": state["fc.bias"]},
            r'its tensors do not fit resnet20 .*Unexpected key\(s\) in state_dict: "module.fc.bias"',
        ),
        (
            lambda _: build_model("resnet20", 10, seed=0),
            "it holds ehap.models.resnet.ResNet, of a whole network",
        ),
        (lambda state: [*state.values()], "a state dict, name to tensor, got a list"),
        (lambda state: dict(enumerate(state.values())), "a state dict, name to tensor, got a mapping with the keys 0"),
        (
            lambda state: {"model": state, "history": defaultdict(list, accuracy=[91.2])},
            "loading it could run code: it holds collections.defaultdict, of a whole network or beside one; save",
        ),
        (lambda _: build_model, "it holds ehap.models.registry.build_model, of a whole network or beside one"),
        (lambda state: {"model": state, "best": Fraction(1, 2)}, "it holds fractions.Fraction, of a whole network"),
    ],
)
def test_other_files_are_refused_in_one_line(
    tmp_path: Path, network: nn.Module, change: Callable[[State], object], message: str
) -> None:
    torch.save(change(dict(network.state_dict())), tmp_path / "mine")
    with pytest.raises(CheckpointError, match=message) as caught:
        _run(tmp_path, tmp_path / "mine")
    assert str(tmp_path / "mine") in str(caught.value)
    assert str(caught.value).isprintable()
    assert not (tmp_path / "checkpoint").exists()


def test_a_file_of_another_kind_and_a_scripted_network_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"\x1b[1mhello\n\x00")
    with pytest.raises(CheckpointError, match=r"as a state dict of torch.save, but it is neither") as caught:
        _run(tmp_path, tmp_path / "mine")
    assert str(caught.value).isprintable()
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "mine")
    with pytest.raises(CheckpointError, match="mine: it holds a scripted network; save its state dict alone"):
        _run(tmp_path, tmp_path / "mine")


def test_a_file_of_another_version_of_numpy_loads(tmp_path: Path, network: nn.Module) -> None:
    torch.save({"model": network.state_dict(), "best": numpy.float64(91.2)}, tmp_path / "now", pickle_protocol=2)
    with zipfile.ZipFile(tmp_path / "now") as now, zipfile.ZipFile(tmp_path / "mine", "w") as mine:
        for name in now.namelist():
            content = now.read(name)
            assert not name.endswith("data.pkl") or b"numpy._core.multiarray" in content
            mine.writestr(name, content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    _run(tmp_path, tmp_path / "mine")
    assert load_dense(tmp_path / "checkpoint", CELL).fc.weight.equal(network.fc.weight)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"mine: expected a file with weights \(.*No such file"):
        _run(tmp_path, tmp_path / "mine")


def test_weights_that_the_settings_name_are_not_left_out(tmp_path: Path) -> None:
    write_images(tmp_path / "data", 20, 20)
    settings = Pretrain(epochs=1, learning_rate=0.1, weights="mine.pth")
    with pytest.raises(CheckpointError, match=r"pretrain.weights says mine.pth; give --input weights=PATH, too"):
        pretrain.run(job_of(tmp_path, settings, CELL, "data", OUTPUTS))
