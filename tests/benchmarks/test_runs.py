"""Benchmarks from their command line to their tables."""

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import reconstruct
from benchmarks.benchmark import Row
from benchmarks.processes import alone
from benchmarks.runner import main
from ehap.engines.exact_sums import PLAIN, how_exact
from ehap.models import build_model
from ehap.records import write_tensors
from tests.benchmarks.workers import peaks
from tests.jobs import make_shallow_, write_images
from tests.workflow.conftest import ROOT, run_in
from tests.workflow.warm_python import warm_python

Said = Callable[..., str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Said:
    """Run a benchmark in this process, and return what it prints."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def said(*arguments: str) -> str:
        main([*arguments, "--folder", str(tmp_path)])
        printed = capsys.readouterr()
        return printed.out + printed.err

    return said


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of a new network, as the pretrain stage writes them."""
    make_shallow_(monkeypatch)
    path = tmp_path / "model.safetensors"
    weights = build_model("resnet20", 10, seed=0).state_dict()
    write_tensors(path, weights, {"model": "resnet20", "dataset": "digits"})
    return path


def test_pruners_of_other_libraries_stand_beside_ours(network: Path, said: Said, tmp_path: Path) -> None:
    write_images(tmp_path / "data", 64, 32)
    inputs = ["--checkpoint", str(network), "--data", str(tmp_path / "data"), "--images", "16"]
    names = ["torch-pruning, group L2, global", "model-compression-toolkit", "ours, L2 + lamp"]
    what = ["--params", "0.5", "--epochs", "0", "--match", "ours, gate", "ours, r", "--pruners", *names]
    page = said("prune", *inputs, *what, "--device", "cpu", "--threads", "1", "--peers", str(tmp_path / "none"))
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
    assert table.with_suffix(".md").read_text() in page


def _rounding(dense: float, other: float) -> float:
    """By how much dense / other may differ from what a table says: it rounds times to 0.001, ratios to 0.01."""
    return 0.0051 + (0.0005 + 0.0005 * dense / other) / other


def test_latency_is_compared_within_an_engine_and_integers_are_audited(
    network: Path, said: Said, tmp_path: Path
) -> None:
    what = ["--params", "0.12", "--batches", "2", "--engines", "eager", "onnxruntime", "--rounds", "3"]
    page = said("latency", "--models", "resnet20", "--checkpoint", str(network), *what)
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
            assert (int(float(row["left_in_float"])), int(float(row["integer_operators"]))) == (0, 14)
            assert row["exact_sums"] == how_exact()
            assert 1 < float(row["packed_bytes_per_parameter"]) < 1.25
    left_out = "Left out, for too few parameters are to be kept: resnet20, planned in 16s."
    assert left_out in table.with_suffix(".md").read_text()
    wide = [int(rows[name, "FP32", "eager"]["executed_parameters"]) for name in names[1:]]
    assert wide == sorted(set(wide))  # sums without unions cost parameters, alignment costs more
    assert "at most 12 % of parameters kept." in table.with_suffix(".md").read_text()
    assert table.with_suffix(".md").read_text() in page
    assert table.with_suffix(".svg").exists()


def test_two_sessions_are_compared_in_time_and_bits(network: Path, said: Said, tmp_path: Path) -> None:
    what = ["--networks", "dense", "--batches", "2", "--images", "96", "--rounds", "3", "--clock", "cpu"]
    page = said("sums", "--models", "resnet20", "--checkpoint", str(network), *what)
    (table,) = tmp_path.rglob("bench_sums.csv")
    with table.open() as file:
        (row,) = csv.DictReader(file)
    assert (row["model"], row["network"], row["images_compared"]) == ("resnet20", "dense", "96")
    assert row["answers_that_differ_among_images"] == "96"  # else equal bits would say little
    if row["exact_sums"] == PLAIN:  # the option is of no use here: it must not change a bit
        assert row["images_with_other_bits"] == "0"
    for name in ("FP32_ms", "plain_ms", "option_ms", "plain_times_as_fast_as_option"):
        assert float(row[name]) > 0
    assert "Milliseconds of CPU time a batch" in page
    assert not list(tmp_path.rglob("bench_latency*"))  # the page of results would take it for one of the other form


def test_plans_come_near_their_budgets_and_never_above(tmp_path: Path) -> None:
    script = [warm_python(), "-m", "benchmarks", "plan", "--models", "resnet20"]
    page = run_in(ROOT, *script, "--budgets", "0.1", "0.5", "--folder", str(tmp_path))
    (table,) = tmp_path.rglob("bench_plan.csv")
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["budget"] for row in rows] == ["parameters", "FLOPs", "both, used up"]
    for row in rows:
        assert int(row["channels"]) == 16 + 6 * (16 + 32 + 64) + 32 + 64 + 10  # with shortcuts and classes
        assert 0 < float(row["milliseconds_median"]) <= float(row["milliseconds_most"])
        assert 0 <= float(row["percent_unused_median"]) <= float(row["percent_unused_most"]) < 5
    assert table.with_suffix(".md").read_text() in page


@pytest.mark.usefixtures("network")
def test_evenly_thinned_networks_stand_beside_the_dense_one(said: Said, tmp_path: Path) -> None:
    page = said("widths", "--models", "resnet20", "--shares", "0.25", "--batch", "2", "--rounds", "3")
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
    assert table.with_suffix(".md").read_text() in page


def test_a_repair_is_measured_model_by_model_each_in_a_process_of_its_own(
    said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = []

    def here(work: Callable[..., Row], *arguments: object) -> Row:
        began.append(arguments[0])
        return work(*arguments)

    monkeypatch.setattr(reconstruct, "alone", here)
    page = said("reconstruct", "--device", "cpu", "--models", "resnet20", "resnet32", "--images", "4")
    (table,) = tmp_path.rglob("bench_reconstruct.csv")
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert began == [row["model"] for row in rows] == ["resnet20", "resnet32"]
    assert table.with_suffix(".md").read_text() in page
    assert "Unfinished" not in page
    for row in rows:
        assert 59 < float(row["parameters_kept_percent"]) <= 60
        assert 500 < int(row["most_unknowns"]) <= 64 * 9 + 1


def test_a_repair_costs_memory_by_its_images() -> None:
    few, many = alone(peaks, (4, 64))  # the second may use again what the first one freed
    assert 0 < few < many < 0.5
