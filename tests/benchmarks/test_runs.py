"""Benchmarks from their command line to their tables."""

import csv
import sys
from pathlib import Path

import pytest

from ehap.data import read_dataset
from ehap.engines.exact_sums import PLAIN, how_exact
from ehap.models import build_model
from ehap.records import write_tensors
from tests.workflow.conftest import ROOT, run_in
from tests.workflow.warm_python import warm_python


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a new ResNet-20, as the pretrain stage writes them."""
    path = tmp_path_factory.mktemp("network") / "model.safetensors"
    weights = build_model("resnet20", 10, seed=0).state_dict()
    write_tensors(path, weights, {"model": "resnet20", "dataset": "digits"})
    return path


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """The digits, as the prepare stage writes them."""
    train, test = read_dataset("digits", tmp_path, download=False)
    tensors = {"train_images": train[0], "train_labels": train[1], "test_images": test[0], "test_labels": test[1]}
    write_tensors(tmp_path / "data.safetensors", tensors, {"dataset": "digits"})
    return tmp_path / "data.safetensors"


def test_pruners_of_other_libraries_stand_beside_ours(network: Path, digits: Path, tmp_path: Path) -> None:
    inputs = ["--checkpoint", str(network), "--data", str(digits), "--images", "16"]
    names = ["torch-pruning, group L2, global", "model-compression-toolkit", "ours, L2 + lamp"]
    what = ["--params", "0.5", "--epochs", "0", "--match", "ours, gate", "ours, r", "--pruners", *names]
    script = [sys.executable, "-W", "error", "-m", "benchmarks", "prune"]
    where = ["--device", "cpu", "--threads", "1", "--folder", str(tmp_path), "--peers", str(tmp_path / "none")]
    said = run_in(ROOT, *script, *inputs, *what, *where)
    (table,) = tmp_path.rglob("bench_prune.csv")
    with table.open() as file:
        rows = {row["pruner"]: row for row in csv.DictReader(file)}
    matched = {name: row for name, row in rows.items() if name.endswith(f", as {names[0]}")}
    assert set(rows) == {*names, *matched}
    assert [name.split(", as ")[0] for name in matched] == [
        *("ours, gate + lamp", "ours, gate + lamp, tied", "ours, random + lamp")
    ]
    for row in matched.values():
        shares = [float(row[size]) / float(rows[names[0]][size]) for size in ("parameters", "flops")]
        assert 0.8 < min(shares) <= max(shares) <= 1  # it has both, as nearly as the weights of maps may go
        assert max(shares) > 0.97
    assert "make bench-prune installs it" in rows["model-compression-toolkit"]["note"]
    for name in (names[0], names[2]):
        assert 40 < float(rows[name]["parameters_kept_percent"]) <= 50, name
        assert 0 <= float(rows[name]["recalibrated"]) <= 100
    assert table.with_suffix(".md").read_text() in said


def _rounding(dense: float, other: float) -> float:
    """By how much dense / other may differ from what a table says: it rounds times to 0.001, ratios to 0.01."""
    return 0.0051 + (0.0005 + 0.0005 * dense / other) / other


def test_latency_is_compared_within_an_engine_and_integers_are_audited(network: Path, tmp_path: Path) -> None:
    script = [warm_python(), "-m", "benchmarks", "latency", "--models", "resnet20", "--checkpoint", str(network)]
    what = ["--params", "0.12", "--batches", "2", "--engines", "eager", "onnxruntime", "--rounds", "3"]
    said = run_in(ROOT, *script, *what, "--folder", str(tmp_path))
    (table,) = tmp_path.rglob("bench_latency.csv")
    with table.open() as file:
        rows = {(row["network"], row["precision"], row["engine"]): row for row in csv.DictReader(file)}
    names = ("dense", "pruned", "plain sums", "plain sums, aligned")
    integers = {(name, "INT8", "onnxruntime") for name in names if name != "pruned"}  # unions have no integer kernel
    assert rows.keys() == {(name, "FP32", engine) for name in names for engine in ("eager", "onnxruntime")} | integers
    for (name, precision, engine), row in rows.items():
        dense = float(rows["dense", precision, engine]["latency_ms"])
        faster = dense / float(row["latency_ms"])
        said_faster = float(row[f"times_faster_than_dense_{precision}"])
        assert said_faster == pytest.approx(faster, abs=_rounding(dense, float(row["latency_ms"])))
        share = float(row["kept_parameters_percent"])
        assert share == 100 if name == "dense" else 11 < share <= 12
        if precision == "INT8":
            assert (int(float(row["left_in_float"])), int(float(row["integer_operators"]))) == (0, 32)
            assert row["exact_sums"] == how_exact()
            assert 1 < float(row["packed_bytes_per_parameter"]) < 1.25
    left_out = "Left out, for too few parameters are to be kept: resnet20, planned in 16s."
    assert left_out in table.with_suffix(".md").read_text()
    wide = [int(rows[name, "FP32", "eager"]["executed_parameters"]) for name in names[1:]]
    assert wide == sorted(set(wide))  # sums without unions cost parameters, alignment costs more
    assert "at most 12 % of parameters kept." in table.with_suffix(".md").read_text()
    assert table.with_suffix(".md").read_text() in said
    assert table.with_suffix(".svg").exists()


def test_two_sessions_are_compared_in_time_and_bits(tmp_path: Path) -> None:
    script = [warm_python(), "-m", "benchmarks", "sums", "--models", "resnet20"]
    what = ["--networks", "dense", "--batches", "2", "--images", "96", "--rounds", "3", "--clock", "cpu"]
    said = run_in(ROOT, *script, *what, "--folder", str(tmp_path))
    (table,) = tmp_path.rglob("bench_sums.csv")
    with table.open() as file:
        (row,) = csv.DictReader(file)
    assert (row["model"], row["network"], row["images_compared"]) == ("resnet20", "dense", "96")
    assert row["answers_that_differ_among_images"] == "96"  # else equal bits would say little
    if row["exact_sums"] == PLAIN:  # the option is of no use here: it must not change a bit
        assert row["images_with_other_bits"] == "0"
    for name in ("FP32_ms", "plain_ms", "option_ms", "plain_times_as_fast_as_option"):
        assert float(row[name]) > 0
    assert "Milliseconds of CPU time a batch" in said
    assert not list(tmp_path.rglob("bench_latency*"))  # the page of results would take it for one of the other form


def test_plans_come_near_their_budgets_and_never_above(tmp_path: Path) -> None:
    script = [warm_python(), "-m", "benchmarks", "plan", "--models", "resnet20"]
    said = run_in(ROOT, *script, "--budgets", "0.1", "0.5", "--folder", str(tmp_path))
    (table,) = tmp_path.rglob("bench_plan.csv")
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["budget"] for row in rows] == ["parameters", "FLOPs", "both, used up"]
    for row in rows:
        assert int(row["channels"]) == 16 + 6 * (16 + 32 + 64) + 32 + 64 + 10  # with shortcuts and classes
        assert 0 < float(row["milliseconds_median"]) <= float(row["milliseconds_most"])
        assert 0 <= float(row["percent_unused_median"]) <= float(row["percent_unused_most"]) < 5
    assert table.with_suffix(".md").read_text() in said


def test_evenly_thinned_networks_stand_beside_the_dense_one(tmp_path: Path) -> None:
    script = [warm_python(), "-m", "benchmarks", "widths", "--models", "resnet20"]
    what = ["--shares", "0.25", "--batch", "2", "--rounds", "3"]
    said = run_in(ROOT, *script, *what, "--folder", str(tmp_path))
    (table,) = tmp_path.rglob("bench_widths.csv")
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["precision"], float(row["channels_percent"]), row["round_to"]) for row in rows] == [
        ("FP32", 100, "1"),
        ("INT8", 100, "1"),
        ("INT8", 25, "1"),
        ("INT8", 25, "16"),
    ]
    for row in rows:
        dense = float(rows[0]["latency_ms"])
        faster = dense / float(row["latency_ms"])
        said_faster = float(row["times_faster_than_dense_FP32"])
        assert said_faster == pytest.approx(faster, abs=_rounding(dense, float(row["latency_ms"])))
        thin = row["channels_percent"] == "25.0"
        assert float(row["parameters_percent"]) == (pytest.approx(100 * 0.25**2, abs=0.5) if thin else 100)
        if row["precision"] == "INT8":
            assert 0 < float(row["QLinearConv_percent"]) < 100  # of times, which other work moves
            assert float(row["QLinearConv_percent"]) + float(row["QLinearAdd_percent"]) <= 100
    assert table.with_suffix(".md").read_text() in said


def test_a_repair_costs_memory_by_its_images_model_by_model(tmp_path: Path) -> None:
    script = [sys.executable, "-W", "error", "-m", "benchmarks", "reconstruct", "--device", "cpu"]
    costs = {}
    for images, models in (("8", ["resnet20"]), ("64", ["resnet20", "resnet32"])):
        what = ["--models", *models, "--images", images]
        said = run_in(ROOT, *script, *what, "--folder", str(tmp_path / images))
        (table,) = (tmp_path / images).rglob("bench_reconstruct.csv")
        with table.open() as file:
            rows = {row["model"]: row for row in csv.DictReader(file)}
        assert list(rows) == models
        assert table.with_suffix(".md").read_text() in said
        assert "Unfinished" not in said
        for row in rows.values():
            assert 59 < float(row["parameters_kept_percent"]) <= 60
            assert 500 < int(row["most_unknowns"]) <= 64 * 9 + 1
        costs[images] = {name: float(row["peak_memory_gb"]) for name, row in rows.items()}
    assert 0 < costs["8"]["resnet20"] < min(costs["64"].values())
    assert max(costs["64"].values()) < 0.5
