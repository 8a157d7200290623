"""The public functions give what the workflow's stages give, bit for bit where both compute the same."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ehap
from ehap.artifacts.datasets import load_data
from ehap.artifacts.dense import architecture, save_model
from ehap.data import normalise, plain_batches
from ehap.engines.onnxruntime.session import OnnxNetwork
from ehap.models import build_model
from ehap.records import Identity, read_tensors
from ehap.settings import Deploy, Prune, Qat, Reconstruct
from ehap.stages import deploy, prune, qat, reconstruct
from tests.jobs import job_of, recorded, write_images

IMAGES, CALIBRATED = 40, 32
SCHEME = "ptq8"


def _identity(stage: str, scheme: str | None = None) -> Identity:
    return Identity(stage=stage, dataset="digits", model="resnet20", seed=0, method="half", scheme=scheme)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the outputs of each stage, from new weights to the ONNX file."""
    folder = tmp_path_factory.mktemp("stages")
    write_images(folder / "data", 64, 48)
    dense = build_model("resnet20", 10, seed=0)
    save_model(folder / "dense", dense, architecture(_identity("pretrain"), None))
    files = {name: folder / name for name in ("data", "dense", "plan", "pruned", "repaired", "weights", "model.onnx")}

    def job(
        stage: str, settings: Any, inputs: dict[str, str], outputs: dict[str, str], scheme: str | None = None
    ) -> Any:
        pairs = ({name: files.get(path, folder / path) for name, path in each.items()} for each in (inputs, outputs))
        return job_of(folder, settings, _identity(stage, scheme), *pairs)

    of_prune = Prune(criterion="magnitude", balance="lamp", flops=0.5)
    prune.run(job("prune", of_prune, {"checkpoint": "dense"}, {"plan": "plan", "pruned": "pruned", "record": "r1"}))
    inputs = {"data": "data", "teacher": "dense", "pruned": "pruned"}
    outputs = {"checkpoint": "repaired", "history": "h2", "record": "r2"}
    reconstruct.run(job("reconstruct", Reconstruct(images=IMAGES, distill_steps=0), inputs, outputs))
    inputs = {"data": "data", "checkpoint": "repaired"}
    outputs = {"weights": "weights", "history": "h3", "record": "record.json"}
    scheme = Qat(epochs=0, learning_rate=0.01, calibration_images=CALIBRATED)
    qat.run(job("qat", scheme, inputs, outputs, SCHEME))
    inputs = {"data": "data", "weights": "weights", "training": "record.json"}
    deploy.run(job("deploy", Deploy(), inputs, {"onnx": "model.onnx", "record": "r4"}, SCHEME))
    return folder


def _drawn(images: Tensor, count: int) -> Tensor:
    """Return the images that a stage draws by seed 0."""
    return images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:count]]


@torch.no_grad()
def test_eight_lines_give_the_networks_of_the_stages(made: Path, tmp_path: Path) -> None:
    data = load_data(job_of(made, None, _identity("evaluate"), "data"), torch.device("cpu"))
    images = normalise(data.train[0], data.info)
    model = ehap.load(made / "dense")
    scores = ehap.channel_scores(model, criterion="magnitude")
    plan = ehap.plan(model, scores, ehap.Budget(flops=0.5), balance="lamp", example=images[:2])
    assert plan == ehap.PruningPlan.from_json((made / "plan").read_text())
    small = ehap.prune(model, plan)
    _same_weights(small, made / "pruned")
    shown = _drawn(images, IMAGES)
    small = ehap.reconstruct(small, teacher=model, plan=plan, images=shown)
    _same_weights(small, made / "repaired")
    int8 = ehap.quantize(small, ehap.Scheme(bits=8), _drawn(images, CALIBRATED))
    of_stage = ehap.load(made / "weights")
    inputs = torch.cat([batch for batch, _ in plain_batches(*data.test, data.info)])
    assert torch.equal(int8(inputs), of_stage(inputs))
    ehap.export(int8, tmp_path / "model.onnx", example=images[:8])
    ours, theirs = (_executed(path, inputs) for path in (tmp_path / "model.onnx", made / "model.onnx"))
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-4 * float(theirs.abs().max()))
    found = 100 * (ours.argmax(1) == data.test[1]).double().mean().item()
    assert found == pytest.approx(recorded(made / "r4")["deployed_accuracy"])


def _same_weights(network: nn.Module, path: Path) -> None:
    tensors, _ = read_tensors(path)
    state = network.state_dict()
    assert state.keys() == tensors.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in tensors.items())


def _executed(path: Path, images: Tensor) -> Tensor:
    found: Tensor = OnnxNetwork(path.read_bytes())(images)
    return found
