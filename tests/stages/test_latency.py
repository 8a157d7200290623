"""The latency stage: four networks in turns, their record, and the tables that show it."""

import json
from dataclasses import replace
from pathlib import Path

import pandas
import pytest
import torch

from ehap.artifacts.dense import architecture, save_model
from ehap.data import CIFAR_SHAPE
from ehap.engines.exact_sums import how_exact, option_needed
from ehap.engines.onnxruntime import audit, left_in_float
from ehap.errors import CheckpointError
from ehap.graph.folding import fuse_norms
from ehap.graph.layers import layer_weights
from ehap.models import build_model
from ehap.pruning import prune
from ehap.pruning.widening import widened
from ehap.records import Identity
from ehap.results.collect import COLUMNS, collect
from ehap.results.latency import timed, timed_markdown
from ehap.settings import Deploy, Latency, Qat
from ehap.stages import deploy, deploy_dense, latency, qat
from tests.conftest import enliven_
from tests.jobs import job_of, write_images

CELL = Identity(stage="latency", dataset="digits", model="resnet20", seed=0, method="quarter", scheme="ptq8")


def _quarter(dense: torch.nn.Module) -> dict[str, list[int]]:
    return {
        name: list(range(0, len(weight), 4 if "conv" in name else 1)) for name, weight in layer_weights(dense).items()
    }


def test_a_wider_network_with_zeros_computes_the_same_in_floating_point() -> None:
    dense = build_model("resnet20", 10, seed=0).eval()
    enliven_(dense)
    kept = _quarter(dense)
    narrow = prune(dense, kept).eval()
    enliven_(narrow, seed=1)  # as after a repair or a training: its weights are not those of the dense network
    laid = fuse_norms(widened(narrow, 16))
    images = torch.randn(4, *CIFAR_SHAPE, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(laid(images), narrow(images), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(laid(images), dense(images), rtol=0.1, atol=0.1)


def test_four_networks_are_timed_and_the_table_says_what_is_slower(tmp_path: Path) -> None:
    write_images(tmp_path / "data", 48, 20)
    dense = build_model("resnet20", 10, seed=0)
    enliven_(dense)
    kept = _quarter(dense)
    save_model(tmp_path / "dense", dense, architecture(CELL, None))
    save_model(tmp_path / "checkpoint", prune(dense, kept), architecture(CELL, kept))
    settings = Qat(epochs=0, learning_rate=0.1, calibration_images=32)
    start = {name: tmp_path / name for name in ("data", "checkpoint")}
    trained = {name: tmp_path / name for name in ("weights", "history")} | {"record": tmp_path / "training"}
    qat.run(job_of(tmp_path, settings, replace(CELL, stage="qat"), start, trained))
    outputs = {"onnx": tmp_path / "onnx", "record": tmp_path / "deployed"}
    deploy.run(job_of(tmp_path, Deploy(round_to=16), replace(CELL, stage="deploy"), "data weights training", outputs))
    deploy_dense.run(job_of(tmp_path, None, CELL, {"checkpoint": tmp_path / "dense"}, "fp32 int8"))
    for name, in_float in (("fp32", True), ("int8", False)):
        operators = audit((tmp_path / name).read_bytes())
        assert bool(left_in_float(operators)) == in_float
    inputs = {"dense_fp32": tmp_path / "fp32", "dense_int8": tmp_path / "int8"}
    inputs |= {name: tmp_path / name for name in ("checkpoint", "onnx", "deployed")}
    job = job_of(tmp_path, Latency(batches=(1, 3), rounds=3), CELL, inputs, "record")
    latency.run(job)
    record = json.loads((tmp_path / "record").read_text())
    assert record["settings"] == {"batches": [1, 3], "rounds": 3, "threads": 1}
    assert record["device"]
    values = {name: item["value"] for name, item in record["values"].items()}
    assert len(values) == 2 * (4 + 3) + 2
    assert values["exact_sums_option"] == option_needed()
    deployed = json.loads((tmp_path / "deployed").read_text())["values"]
    assert deployed["exact_sums_option"]["value"] == option_needed()
    left = sum(weight.numel() for weight in prune(dense, kept).parameters())
    assert left < values["executed_parameters"] < sum(weight.numel() for weight in dense.parameters())
    for batch in (1, 3):
        ours = values[f"latency_{batch}.pruned_INT8"]
        for name in ("dense_FP32", "dense_INT8", "pruned_FP32"):
            expected = values[f"latency_{batch}.{name}"] / ours
            assert values[f"times_as_fast_{batch}.{name}"] == pytest.approx(expected)
    table = timed(*collect([tmp_path / "record", tmp_path / "deployed"]))
    assert table[["batch", "threads", "n"]].to_numpy().tolist() == [[1, 1, 1], [3, 1, 1]]
    assert set(table["exact_sums"]) == {how_exact()}
    assert f"| {how_exact()} |" in " ".join(timed_markdown(table).split())
    assert table["accuracy"].notna().all()
    assert table["over_dense_FP32"].tolist() == [values[f"times_as_fast_{batch}.dense_FP32"] for batch in (1, 3)]

    with pytest.raises(CheckpointError, match="expected weights of resnet20 on digits, seed 1"):
        latency.run(replace(job, identity=replace(CELL, seed=1)))


def _timed(runs: list[tuple[int, str, float]], options: dict[int, int] | None = None) -> pandas.DataFrame:
    """Return the table of runs: seed, instruction sets of the processor, milliseconds of dense INT8.

    ``options``: Seed to whether its sessions had the option for exact sums; the others do not say it.
    """
    rows, settings = [], []
    for seed, instructions, dense in runs:
        cell = {"stage": "latency", "dataset": "digits", "model": "resnet20", "method": "quarter", "scheme": "ptq8"}
        cell |= {"curvature": "", "seed": str(seed), "device": "x", "instructions": instructions}
        times = {"dense_FP32": 4.0, "dense_INT8": dense, "pruned_FP32": 3.0, "pruned_INT8": 2.0}
        rows += [
            {**cell, "quantity": f"latency_64.{name}", "unit": "ms", "value": each} for name, each in times.items()
        ]
        if options and seed in options:
            rows.append({**cell, "quantity": "exact_sums_option", "unit": "", "value": options[seed]})
        settings.append({**cell, "setting": "threads", "value": 1})
    return timed(pandas.DataFrame(rows, columns=COLUMNS), pandas.DataFrame(settings))


def test_processors_of_one_name_with_other_instructions_are_not_mixed() -> None:
    table = _timed([(0, "avx2", 1.0), (1, "avx2", 3.0), (2, "avx2, avx512_vnni", 5.0)])
    assert table[["instructions", "n"]].to_numpy().tolist() == [["avx2", 2], ["avx2, avx512_vnni", 1]]
    assert table["dense_INT8"].tolist() == [2.0, 5.0]
    assert "| avx2, avx512_vnni |" in " ".join(timed_markdown(table).split())


def test_sessions_with_the_option_for_exact_sums_and_plain_ones_are_not_mixed() -> None:
    table = _timed([(0, "avx2", 1.0), (1, "avx2", 3.0), (2, "avx2", 5.0)], options={0: 1, 1: 0})
    assert table[["exact_sums", "n"]].to_numpy().tolist() == [
        ["session.x64quantprecision", 1],
        ["plain session", 1],
        ["", 1],
    ]


def test_a_network_that_got_slower_is_said_to_have_got_slower() -> None:
    (row,) = _timed([(0, "avx2", 1.0)]).to_dict("records")
    assert row["slower_than"] == "dense INT8"
    assert (row["over_dense_FP32"], row["over_dense_INT8"], row["over_pruned_FP32"]) == (2.0, 0.5, 1.5)
    text = " ".join(timed_markdown(_timed([(0, "avx2", 1.0)])).split())
    assert "| dense INT8 | avx2 | 4.00 ms" in text
    assert "| 0.50 × |" in text
