"""The qat stage with other widths than eight bits, each layer its own and none at all, and what deploy makes of it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch

from ehap.artifacts.dense import architecture, save_model
from ehap.engines.onnxruntime import engine
from ehap.errors import ArchitectureError, CheckpointError, DataError, MismatchError
from ehap.graph.layers import layer_weights
from ehap.models import build_model
from ehap.pruning import prune
from ehap.quantization import SimulatedNetwork
from ehap.records import Identity, read_tensors
from ehap.results.collect import collect
from ehap.results.deployment import deployed, deployed_markdown
from ehap.settings import Deploy, Qat
from ehap.stages import deploy, evaluate, qat
from tests.conftest import enliven_
from tests.jobs import job_of, recorded, write_images


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A few images and a network with a quarter of its channels."""
    folder = tmp_path_factory.mktemp("qat")
    write_images(folder / "data", 48, 20)
    dense = build_model("resnet20", 10, seed=0)
    enliven_(dense)
    kept = {
        name: list(range(0, len(weight), 4 if "conv" in name else 1)) for name, weight in layer_weights(dense).items()
    }
    save_model(folder / "checkpoint", prune(dense, kept), architecture(_cell("none"), kept))
    return {name: folder / name for name in ("data", "checkpoint")}


def _cell(scheme: str) -> Identity:
    return Identity(stage="qat", dataset="digits", model="resnet20", seed=0, method="quarter", scheme=scheme)


def _quantized(inputs: dict[str, Path], folder: Path, settings: Qat) -> dict[str, float]:
    """Run qat and evaluate; return the values of both records."""
    outputs = {"weights": folder / "weights", "history": folder / "history", "record": folder / "training"}
    qat.run(job_of(folder, settings, _cell("any"), inputs, outputs))
    return recorded(folder / "training") | _evaluated(_packed(inputs, folder), folder)


def _packed(inputs: dict[str, Path], folder: Path) -> dict[str, Path]:
    """Return the inputs of the stages that follow qat."""
    return {"data": inputs["data"], "weights": folder / "weights", "training": folder / "training"}


def _evaluated(packed: dict[str, Path], folder: Path, cell: Identity | None = None) -> dict[str, float]:
    evaluate.run(job_of(folder, None, cell or _cell("any"), packed, {"record": folder / "tested"}))
    return recorded(folder / "tested")


def _deployed(inputs: dict[str, Path], folder: Path, settings: Deploy) -> dict[str, float]:
    outputs = {"onnx": folder / "model.onnx", "record": folder / "deployed"}
    deploy.run(job_of(folder, settings, replace(_cell("any"), stage="deploy"), _packed(inputs, folder), outputs))
    return recorded(folder / "deployed")


def test_each_layer_gets_bits_within_the_budget_and_the_file_is_as_small_as_they_say(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    settings = Qat(epochs=0, learning_rate=0.1, calibration_images=32, mix=(4, 8), size=0.7, hessian_images=16)
    values = _quantized(inputs, tmp_path, settings)
    tensors, metadata = read_tensors(tmp_path / "weights")
    bits = metadata["layer_bits"]
    assert set(bits.values()) == {4, 8}
    assert {name: values[f"weight_bits.{name}"] for name in bits} == bits
    assert 4 < values["weight_bits"] <= 0.7 * 8
    whole = len(tensors["weights"])
    count = sum(tensor.numel() for name, tensor in read_tensors(inputs["checkpoint"])[0].items() if tensor.dim() > 1)
    assert whole == pytest.approx(count * values["weight_bits"] / 8, abs=len(bits))
    assert values["file_size"] < values["published_size"] / 3
    found = _deployed(inputs, tmp_path, Deploy(inductor=True))
    assert found["simulated_accuracy"] == pytest.approx(values["accuracy"], abs=5)  # one of 20 images
    assert found["mismatches"] <= 1
    assert 0 < found["onnx_difference"] < 0.02
    assert 0 < found["inductor_difference"] < 0.02
    assert found["inductor_mismatches"] <= 1
    proofs = json.loads((tmp_path / "deployed").read_text())["proofs"]
    assert {name: each["difference"] for name, each in proofs.items()} == {
        "onnxruntime": found["onnx_difference"],
        "inductor": found["inductor_difference"],
    }
    assert found["inductor_integer_operators"] == len(bits)
    assert 0 <= found["inductor_sums_in_kernels"] < len(bits)
    with pytest.raises(DataError, match="expected at most the 48 training images, got 49"):
        _quantized(inputs, tmp_path, Qat(epochs=1, learning_rate=0.1, mix=(4, 8), size=0.7, hessian_images=49))


def test_an_operator_in_floating_point_is_refused_or_declared_and_then_stands_in_the_table(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _quantized(inputs, tmp_path, Qat(epochs=0, learning_rate=0.1, calibration_images=32))
    plain = engine.to_onnx

    def behind(*nodes: onnx.NodeProto) -> Callable[[SimulatedNetwork, tuple[int, int, int]], bytes]:
        def made(network: SimulatedNetwork, shape: tuple[int, int, int]) -> bytes:
            model = onnx.load_from_string(plain(network, shape))
            next(node for node in model.graph.node if "logits" in node.output).output[0] = "sums"
            model.graph.node.extend(nodes)
            return model.SerializeToString()

        return made

    slope = onnx.helper.make_node("Constant", [], ["one"], value_floats=[1.0])
    same = onnx.helper.make_node("PRelu", ["sums", "one"], ["logits"])  # of slope 1 it gives what it gets
    monkeypatch.setattr(engine, "to_onnx", behind(slope, same))
    with pytest.raises(ArchitectureError, match=r"stay in floating point: {'PRelu': 1}. If that is intended"):
        _deployed(inputs, tmp_path, Deploy())
    assert not (tmp_path / "model.onnx").exists()
    _deployed(inputs, tmp_path, Deploy(float_operators=("PRelu",)))
    values, settings = collect([tmp_path / "deployed"])
    assert settings.set_index("setting")["value"]["float_operators"] == ["PRelu"]
    assert deployed(values)[["float_operators", "declared"]].to_numpy().tolist() == [[1, "PRelu"]]
    assert "| PRelu " in deployed_markdown(deployed(values))
    monkeypatch.setattr(engine, "to_onnx", behind(onnx.helper.make_node("Softmax", ["sums"], ["logits"])))
    with pytest.raises(MismatchError, match="the ONNX file and the simulated network, on test images, give different"):
        _deployed(inputs, tmp_path, Deploy(float_operators=("Softmax",)))
    monkeypatch.undo()
    with pytest.raises(ArchitectureError, match="PRelu does not stay in floating point"):
        _deployed(inputs, tmp_path, Deploy(float_operators=("PRelu",)))
    _deployed(inputs, tmp_path, Deploy())
    values, _ = collect([tmp_path / "deployed"])
    assert deployed(values)[["float_operators", "declared"]].to_numpy().tolist() == [[0, ""]]
    assert "in float" not in deployed_markdown(deployed(values)).partition("Accuracy")[0]


def test_a_file_and_the_record_of_another_scheme_are_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    folders = {bits: tmp_path / str(bits) for bits in (4, 8)}
    for bits, folder in folders.items():
        folder.mkdir()
        _quantized(inputs, folder, Qat(epochs=0, learning_rate=0.1, calibration_images=32, bits=bits))
    mixed_up = _packed(inputs, folders[4]) | {"training": folders[8] / "training"}
    with pytest.raises(CheckpointError, match=r"expected integers of scheme any, 8 bits, .*got those of scheme any, 4"):
        _evaluated(mixed_up, tmp_path)
    same = _packed(inputs, folders[4])
    with pytest.raises(CheckpointError, match=r"expected integers of scheme qat4, 4 bits, .*got those of scheme any"):
        _evaluated(same, tmp_path, _cell("qat4"))
    with pytest.raises(CheckpointError, match="expected integers of method half, got those of method quarter"):
        _evaluated(same, tmp_path, replace(_cell("any"), method="half"))
    plain = _packed(inputs, folders[8]) | {"weights": inputs["checkpoint"]}
    with pytest.raises(CheckpointError, match=r"got those of scheme None, None bits"):
        _evaluated(plain, tmp_path)


@pytest.mark.parametrize(("last", "best", "expected"), [(90.0, 90.0, None), (80.0, 90.0, 90.0), (0.0, 1.0, None)])
def test_the_best_epoch_is_never_below_the_packed_network(
    inputs: dict[str, Path], tmp_path: Path, last: float, best: float, expected: float | None
) -> None:
    """The last epoch counts as it is packed, whatever the training saw; an earlier, better one as it was seen."""
    settings = Qat(epochs=0, learning_rate=0.1, calibration_images=32)
    measured = _quantized(inputs, tmp_path, settings)["accuracy"]
    assert 1 < measured < 90
    record = json.loads((tmp_path / "training").read_text())
    record["values"] |= {
        "accuracy": {"value": last, "unit": "percent"},
        "best_accuracy": {"value": best, "unit": "percent"},
    }
    (tmp_path / "training").write_text(json.dumps(record))
    values = _evaluated(_packed(inputs, tmp_path), tmp_path)
    assert values["accuracy"] == measured
    assert values["best_accuracy"] == (measured if expected is None else expected)


def test_with_live_norms_the_statistics_of_every_training_move_and_the_file_is_like_any_other(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    for norms in ("frozen", "live"):
        folder = tmp_path / norms
        folder.mkdir()
        settings = Qat(epochs=2, learning_rate=0.01, batch_size=16, calibration_images=32, norms=norms)
        values = _quantized(inputs, folder, settings)
        trained = json.loads((folder / "training").read_text())
        assert trained["settings"]["norms"] == norms
        assert values["accuracy"] == pytest.approx(trained["values"]["accuracy"]["value"], abs=5)  # one of 20 images
    frozen, live = ((tmp_path / norms / "weights") for norms in ("frozen", "live"))
    assert live.stat().st_size == frozen.stat().st_size
    assert not torch.equal(read_tensors(live)[0]["weights"], read_tensors(frozen)[0]["weights"])
    _quantized(inputs, tmp_path, Qat(epochs=1, learning_rate=0.1, batch_size=16, bits=32, norms="live"))
    before, after = read_tensors(inputs["checkpoint"])[0], read_tensors(tmp_path / "weights")[0]
    assert not any(torch.equal(tensor, after[name]) for name, tensor in before.items() if "running" in name)


def test_the_same_steps_in_float_train_everything_but_the_statistics(inputs: dict[str, Path], tmp_path: Path) -> None:
    values = _quantized(inputs, tmp_path, Qat(epochs=1, learning_rate=0.1, batch_size=16, bits=32))
    before, after = read_tensors(inputs["checkpoint"])[0], read_tensors(tmp_path / "weights")[0]
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        frozen = "running" in name or "tracked" in name
        assert torch.equal(tensor, after[name]) == frozen, name
    assert "weight_bits" not in values
    parameters = sum(tensor.numel() for name, tensor in after.items() if "running" not in name and "num" not in name)
    numbers = sum(tensor.numel() for tensor in after.values())
    assert values["published_size"] == 4 * (numbers + parameters)
