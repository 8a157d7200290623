import json
from pathlib import Path

import pandas
import pytest

from ehap.data import DATASETS
from ehap.errors import DataError
from ehap.evaluation import parameters
from ehap.models import build_model
from ehap.results import build, render
from ehap.results.collect import collect
from ehap.results.paper import paper_values
from ehap.stages.tables import write_tables
from tests.results.conftest import evaluated, only_row, record

CONFIG = Path(__file__).parents[2] / "config"


PAPER = paper_values(CONFIG / "paper_results.csv")


def test_pruned_accuracy_stands_beside_tables_1_and_2(values: pandas.DataFrame) -> None:
    frame = build.pruned_accuracy(values, PAPER)
    row = only_row(frame, method="hap", quantity="accuracy")
    assert (row["mean"], row["n"], row["paper"], row["paper_spread"]) == (88.5, 2, 88.47, 0.25)
    assert row["std"] == pytest.approx(0.5**0.5)
    assert row["difference"] == pytest.approx(0.03)
    assert row["verdict"] == "within"
    best = only_row(frame, method="hap", quantity="best_accuracy")
    assert (best["mean"], best["paper"]) == (89.0, 88.47)
    assert only_row(frame, method="dense", quantity="accuracy")["paper"] == 93.83
    assert only_row(frame, method="hap", quantity="parameters_kept")["mean"] == 10
    assert only_row(frame, method="hap", quantity="parameters_kept")["paper"] == 10.26
    assert pandas.isna(only_row(frame, method="random", quantity="accuracy")["paper"])
    assert set(frame["scheme"]) == {""}


def test_a_verdict_says_on_which_side_ours_lies(values: pandas.DataFrame) -> None:
    values = values.copy()
    values.loc[values["quantity"] == "accuracy", "value"] -= 10
    frame = build.pruned_accuracy(values, PAPER)
    assert only_row(frame, method="hap", quantity="accuracy")["verdict"] == "below"
    values.loc[values["quantity"] == "accuracy", "value"] += 20
    assert only_row(build.pruned_accuracy(values, PAPER), method="hap", quantity="accuracy")["verdict"] == "above"


def test_quantized_accuracy_shows_the_change_cell_by_cell(values: pandas.DataFrame) -> None:
    frame = build.quantized_accuracy(values, PAPER)
    change = only_row(frame, method="hap", quantity="quantization_change")
    assert (change["mean"], change["std"]) == (pytest.approx(0.2), pytest.approx(0, abs=1e-9))
    assert only_row(frame, method="hap", scheme="qat8", quantity="accuracy")["paper"] == 88.52
    assert only_row(frame, method="hap", scheme="", quantity="accuracy")["paper"] == 88.47


def test_sizes_are_compared_in_our_units(values: pandas.DataFrame) -> None:
    frame = build.sizes(values, PAPER)
    assert only_row(frame, method="dense", quantity="file_size")["paper"] == 3761 * 1024
    assert only_row(frame, method="hap", scheme="qat8", quantity="file_size")["paper"] == 239 * 1024
    assert only_row(frame, method="dense", quantity="flops")["paper"] == pytest.approx(1.4e8)


def test_the_papers_dense_files_hold_parameters_and_momentum_and_little_else() -> None:
    sizes = PAPER[(PAPER["quantity"] == "file_size") & (PAPER["subject"] == "dense")]
    assert len(sizes) == 6
    for row in sizes.itertuples():
        classes = DATASETS[str(row.dataset)].classes
        least = 8 * parameters(build_model(str(row.model), classes))
        assert least < row.paper < 1.035 * least


def test_trace_cost_shows_the_papers_two_devices(values: pandas.DataFrame) -> None:
    row = only_row(build.trace_cost(values, PAPER), quantity="trace_time")
    assert (row["mean"], row["paper_rtx2060"], row["paper_rtx3090"]) == (12, 86.97, 34.722)
    assert only_row(build.trace_cost(values, PAPER), quantity="peak_memory")["paper_rtx3090"] == 2.401e9


def test_devices_are_never_mixed_in_one_mean(values: pandas.DataFrame) -> None:
    values = values.copy()
    values.loc[values["seed"] == 1, "device"] = "CPU"
    frame = build.pruned_accuracy(values, PAPER)
    rows = frame[(frame["method"] == "hap") & (frame["quantity"] == "accuracy")]
    assert dict(zip(rows["device"], rows["mean"], strict=True)) == {"GPU": 88, "CPU": 89}
    assert rows["std"].isna().all()
    assert (rows["verdict"] == "").all()  # of a single seed


def test_sizes_are_compared_with_a_dense_network_that_was_tested_elsewhere(values: pandas.DataFrame) -> None:
    values = values.copy()
    values.loc[values["method"] == "dense", "device"] = "CPU"
    row = only_row(build.pruned_accuracy(values, PAPER), method="hap", quantity="parameters_kept")
    assert (row["mean"], row["n"]) == (10, 2)


def test_sizes_are_means_over_the_seeds_of_the_accuracy_where_one_dense_network_is_evaluated(tmp_path: Path) -> None:
    paths = [record(tmp_path, "dense", evaluated(93.0, 1000), stage="evaluate", seed=0, method="dense")]
    for seed, size in enumerate((100, 110, 150)):
        paths.append(record(tmp_path, f"hap{seed}", evaluated(88.0, size), stage="evaluate", seed=seed, method="hap"))
    row = only_row(build.comparison(collect(paths)[0]), method="hap")
    assert (row["n"], row["parameters_kept"], row["flops_kept"]) == (3, pytest.approx(12), pytest.approx(12))


def test_methods_are_compared_at_each_step_of_their_repair_the_best_first(
    values: pandas.DataFrame, tmp_path: Path
) -> None:
    steps = {"pruned_accuracy": (10.0, "percent"), "recalibrated_accuracy": (40.0, "percent")}
    where = {"stage": "evaluate_unrecovered", "seed": 0, "method": "random"}
    assessed, _ = collect([record(tmp_path, "evaluate_unrecovered", steps, **where)])
    frame = build.comparison(pandas.concat([values, assessed]))
    assert list(frame["method"]) == ["hap", "random"]  # neither dense nor quantized networks
    assert (frame["accuracy"][0], frame["parameters_kept"][0], frame["flops_kept"][0], frame["n"][0]) == (
        88.5,
        10,
        10,
        2,
    )
    assert (frame["pruned_accuracy"][1], frame["recalibrated_accuracy"][1]) == (10, 40)
    assert frame["accuracy_std"][1] == pytest.approx(0.5**0.5)
    assert (frame["parameters"][0], frame["flops"][0]) == (100, 1000)
    text = render.comparison_markdown(frame)
    assert "| random | 10.00 % | 40.00 % | 80.50 ± 0.71 % |" in " ".join(text.split()).replace(" |  |", " |")


def test_methods_of_one_size_stand_together_the_largest_size_first(values: pandas.DataFrame, tmp_path: Path) -> None:
    paths = []
    for method, accuracy, size in (("gate", 70.0, 99), ("gate-30", 60.0, 300), ("hap-30", 65.0, 298)):
        where = {"stage": "evaluate", "seed": 0, "method": method}
        paths.append(record(tmp_path, method, evaluated(accuracy, size), **where))
    frame = build.comparison(pandas.concat([values, collect(paths)[0]]))
    assert list(frame["method"]) == ["hap-30", "gate-30", "hap", "gate", "random"]


def test_the_overview_has_one_row_a_network(values: pandas.DataFrame) -> None:
    frame = build.overview(values)
    row = only_row(frame, method="hap")
    assert (row["accuracy"], row["accuracy_qat8"], row["parameters_kept"], row["n"]) == (
        88.5,
        pytest.approx(88.7),
        10,
        2,
    )
    text = render.overview_markdown(frame)
    assert "88.50 ± 0.71 %" in text
    assert "after qat8" in text


def test_without_the_dense_network_an_overview_leaves_shares_open(values: pandas.DataFrame) -> None:
    frame = build.overview(values[values["method"] != "dense"])
    assert frame["parameters_kept"].isna().all()
    (row,) = [line for line in render.overview_markdown(frame).splitlines() if "| hap " in line]
    assert [cell.strip() for cell in row.split("|")].count("") >= 2 + 2  # at both ends, and the shares


def test_of_two_records_of_one_network_and_device_the_runs_own_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    where = {"stage": "evaluate", "method": "hap", "seed": 0}
    own = record(tmp_path, "own", evaluated(90, 1000), **where)
    kept = record(tmp_path, "kept", evaluated(90, 1000), **where)
    other = record(tmp_path, "other", evaluated(80, 1000), instructions="avx2", **where)
    gpu = record(tmp_path, "gpu", evaluated(70, 1000), **where, device="another GPU")
    (row, elsewhere) = build.overview(collect([own, kept, gpu])[0]).to_dict("records")
    assert (row["accuracy"], row["n"], elsewhere["accuracy"]) == (90, 1, 70)
    assert pandas.isna(row["accuracy_std"])
    assert not caplog.records
    (row,) = build.overview(collect([own, other])[0]).to_dict("records")
    assert (row["accuracy"], row["n"]) == (90, 1)
    assert [line.getMessage() for line in caplog.records] == [
        f"{other} is left out: {own} is of the same network, stage and device"
    ]


def test_a_column_of_fewer_seeds_says_so(values: pandas.DataFrame) -> None:
    assert not [name for name in build.overview(values) if name.endswith("_n")]
    frame = build.overview(values[(values["scheme"] == "") | (values["seed"] == 1)])
    assert only_row(frame, method="hap")[["n", "accuracy_qat8_n"]].tolist() == [2, 1]
    (row,) = [line for line in render.overview_markdown(frame).splitlines() if "| hap " in line]
    assert "88.50 ± 0.71 %" in row
    assert "| 89.20 % (n = 1) |" in row


def test_a_network_that_was_tested_in_integers_alone_has_a_row(values: pandas.DataFrame) -> None:
    frame = build.overview(values[values["scheme"] == "qat8"])
    assert frame["n"].tolist() == [0]
    (row,) = [line for line in render.overview_markdown(frame).splitlines() if "| hap " in line]
    assert "88.70 ± 0.71 %" in row


def test_a_run_of_which_nothing_is_evaluated_yet_has_tables_of_what_there_is(tmp_path: Path) -> None:
    where = {"seed": 0, "method": "hap", "settings": {}}
    assessed = record(tmp_path, "a", {"pruned_accuracy": (12.0, "percent")}, stage="evaluate_unrecovered", **where)
    trained = record(tmp_path, "t", {"accuracy": (90.0, "percent")}, stage="finetune", **where)
    folder = tmp_path / "tables"
    write_tables([assessed, trained], CONFIG / "paper_results.csv", CONFIG / "paper_settings.csv", folder)
    assert "No network has been evaluated yet" in (folder / "overview.md").read_text()
    assert "| hap      | 12.00 %" in (folder / "comparison.md").read_text()
    assert json.loads((folder / "summary.json").read_text()) == {}


def test_markdown_carries_the_papers_numbering_and_notes(values: pandas.DataFrame) -> None:
    text = render.markdown("Pruned", build.pruned_accuracy(values, PAPER), {"cifar10": "I"}, ["A note."])
    assert "## Table I, CIFAR-10" in text
    assert "88.47 ± 0.25 %" in text
    assert "accuracy, best epoch (the paper's protocol)" in text
    assert text.endswith("A note.\n")


def test_settings_stand_beside_tables_7_to_9(tmp_path: Path) -> None:
    where = {"stage": "pretrain", "seed": 0, "settings": {"epochs": 3, "learning_rate": 0.05, "nesterov": True}}
    _, settings = collect([record(tmp_path, "pretrain", {}, **where)])
    frame = build.settings_table(settings, pandas.read_csv(CONFIG / "paper_settings.csv", keep_default_na=False))
    found = {row["setting"]: (row["value"], row["paper"], row["table"]) for _, row in frame.iterrows()}
    assert found["epochs"] == (3, 300, "VII")
    assert found["learning_rate"] == (0.05, 0.05, "VII")
    assert pandas.isna(found["nesterov"][1])
    where |= {"stage": "prune", "dataset": "digits", "settings": {"prune_ratio": 0.5, "prune_ratio_limit": 0.95}}
    _, settings = collect([record(tmp_path, "prune", {}, **where)])
    frame = build.settings_table(settings, pandas.read_csv(CONFIG / "paper_settings.csv", keep_default_na=False))
    assert frame["paper"].isna().tolist() == [True, False]
    settings["dataset"] = "cifar100"
    frame = build.settings_table(settings, pandas.read_csv(CONFIG / "paper_settings.csv", keep_default_na=False))
    assert frame["paper"].tolist() == [0.79354, 0.95]


def test_records_of_one_cell_with_different_settings_are_all_told(tmp_path: Path) -> None:
    paths = []
    for seed, epochs in [(0, 3), (1, 3), (2, 5)]:
        where = {"stage": "pretrain", "seed": seed, "device": "x"}
        where |= {"settings": {"epochs": epochs, "stops": [1, 2], "distill": None}}
        paths.append(record(tmp_path, f"pretrain{seed}", {}, **where))
    paper = pandas.read_csv(CONFIG / "paper_settings.csv", keep_default_na=False)
    frame = build.settings_table(collect(paths)[1], paper)
    assert frame[["setting", "value", "seeds", "device"]].to_numpy().tolist() == [
        ["epochs", 3, "0, 1", "x"],
        ["stops", [1, 2], "0, 1, 2", "x"],
        ["distill", None, "0, 1, 2", "x"],
        ["epochs", 5, "2", "x"],
    ]
    assert frame["paper"].tolist()[0] == frame["paper"].tolist()[3] == 300


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text("{")
    with pytest.raises(DataError, match=r"record.json: expected a record in JSON"):
        collect([tmp_path / "record.json"])
