import json
from pathlib import Path

import pandas
import pytest

from ehap import results as tables
from ehap.data import DATASETS
from ehap.errors import DataError
from ehap.evaluation import parameters
from ehap.models import build_model
from ehap.stages.tables import write_tables
from ehap.results.render import number
from tests.results.conftest import evaluated, only_row, record

CONFIG = Path(__file__).parents[2] / "config"


PAPER = tables.paper_values(CONFIG / "paper_results.csv")


def test_pruned_accuracy_stands_beside_tables_1_and_2(values: pandas.DataFrame) -> None:
    frame = tables.pruned_accuracy(values, PAPER)
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
    frame = tables.pruned_accuracy(values, PAPER)
    assert only_row(frame, method="hap", quantity="accuracy")["verdict"] == "below"
    values.loc[values["quantity"] == "accuracy", "value"] += 20
    assert only_row(tables.pruned_accuracy(values, PAPER), method="hap", quantity="accuracy")["verdict"] == "above"


def test_quantized_accuracy_shows_the_change_cell_by_cell(values: pandas.DataFrame) -> None:
    frame = tables.quantized_accuracy(values, PAPER)
    change = only_row(frame, method="hap", quantity="quantization_change")
    assert (change["mean"], change["std"]) == (pytest.approx(0.2), pytest.approx(0, abs=1e-9))
    assert only_row(frame, method="hap", scheme="qat8", quantity="accuracy")["paper"] == 88.52
    assert only_row(frame, method="hap", scheme="", quantity="accuracy")["paper"] == 88.47


def test_sizes_are_compared_in_our_units(values: pandas.DataFrame) -> None:
    frame = tables.sizes(values, PAPER)
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
    row = only_row(tables.trace_cost(values, PAPER), quantity="trace_time")
    assert (row["mean"], row["paper_rtx2060"], row["paper_rtx3090"]) == (12, 86.97, 34.722)
    assert only_row(tables.trace_cost(values, PAPER), quantity="peak_memory")["paper_rtx3090"] == 2.401e9


def test_devices_are_never_mixed_in_one_mean(values: pandas.DataFrame) -> None:
    values = values.copy()
    values.loc[values["seed"] == 1, "device"] = "CPU"
    frame = tables.pruned_accuracy(values, PAPER)
    rows = frame[(frame["method"] == "hap") & (frame["quantity"] == "accuracy")]
    assert dict(zip(rows["device"], rows["mean"], strict=True)) == {"GPU": 88, "CPU": 89}
    assert rows["std"].isna().all()
    assert (rows["verdict"] == "").all()  # of a single seed


def test_sizes_are_compared_with_a_dense_network_that_was_tested_elsewhere(values: pandas.DataFrame) -> None:
    values = values.copy()
    values.loc[values["method"] == "dense", "device"] = "CPU"
    row = only_row(tables.pruned_accuracy(values, PAPER), method="hap", quantity="parameters_kept")
    assert (row["mean"], row["n"]) == (10, 2)


def test_sizes_are_means_over_the_seeds_of_the_accuracy_where_one_dense_network_is_evaluated(tmp_path: Path) -> None:
    paths = [record(tmp_path, "dense", evaluated(93.0, 1000), stage="evaluate", seed=0, method="dense")]
    for seed, size in enumerate((100, 110, 150)):
        paths.append(record(tmp_path, f"hap{seed}", evaluated(88.0, size), stage="evaluate", seed=seed, method="hap"))
    row = only_row(tables.comparison(tables.collect(paths)[0]), method="hap")
    assert (row["n"], row["parameters_kept"], row["flops_kept"]) == (3, pytest.approx(12), pytest.approx(12))


def test_methods_are_compared_at_each_step_of_their_repair_the_best_first(
    values: pandas.DataFrame, tmp_path: Path
) -> None:
    steps = {"pruned_accuracy": (10.0, "percent"), "recalibrated_accuracy": (40.0, "percent")}
    where = {"stage": "evaluate_unrecovered", "seed": 0, "method": "random"}
    assessed, _ = tables.collect([record(tmp_path, "evaluate_unrecovered", steps, **where)])
    frame = tables.comparison(pandas.concat([values, assessed]))
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
    text = tables.comparison_markdown(frame)
    assert "| random | 10.00 % | 40.00 % | 80.50 ± 0.71 % |" in " ".join(text.split()).replace(" |  |", " |")
    picture = tables.accuracy_by_size(frame).decode()
    for label in ("hap", "random", "parameters kept, %", "FLOPs kept, %", "resnet32 on cifar10"):
        assert f">{label}<" in picture


def test_methods_of_one_size_stand_together_the_largest_size_first(values: pandas.DataFrame, tmp_path: Path) -> None:
    paths = []
    for method, accuracy, size in (("gate", 70.0, 99), ("gate-30", 60.0, 300), ("hap-30", 65.0, 298)):
        where = {"stage": "evaluate", "seed": 0, "method": method}
        paths.append(record(tmp_path, method, evaluated(accuracy, size), **where))
    frame = tables.comparison(pandas.concat([values, tables.collect(paths)[0]]))
    assert list(frame["method"]) == ["hap-30", "gate-30", "hap", "gate", "random"]


def test_another_device_is_another_line(values: pandas.DataFrame) -> None:
    frame = tables.comparison(pandas.concat([values, values.assign(device="CPU", value=values["value"] - 1)]))
    picture = tables.accuracy_by_size(frame).decode()
    assert all(f">{line}<" in picture for line in ("hap, GPU", "hap, CPU", "random, GPU", "random, CPU"))


def test_budgets_of_a_sweep_are_one_line(values: pandas.DataFrame) -> None:
    swept = values.replace({"method": {"hap": "gate-30", "random": "gate-12_5"}})
    picture = tables.accuracy_by_size(tables.comparison(swept)).decode()
    assert ">gate<" in picture
    assert "gate-30" not in picture


def test_the_shares_that_each_layer_keeps_are_shown() -> None:
    picture = tables.kept_shares(
        {"hap": {"conv1": 0.5, "fc": 1.0}, "gate": {"conv1": 0.25, "fc": 1.0}}, "title"
    ).decode()
    assert all(f">{label}<" in picture for label in ("conv1", "fc", "hap", "gate", "title", "channels kept, %"))


def test_the_overview_has_one_row_a_network(values: pandas.DataFrame) -> None:
    frame = tables.overview(values)
    row = only_row(frame, method="hap")
    assert (row["accuracy"], row["accuracy_qat8"], row["parameters_kept"], row["n"]) == (
        88.5,
        pytest.approx(88.7),
        10,
        2,
    )
    text = tables.overview_markdown(frame)
    assert "88.50 ± 0.71 %" in text
    assert "after qat8" in text


def test_without_the_dense_network_an_overview_leaves_shares_open(values: pandas.DataFrame) -> None:
    frame = tables.overview(values[values["method"] != "dense"])
    assert frame["parameters_kept"].isna().all()
    (row,) = [line for line in tables.overview_markdown(frame).splitlines() if "| hap " in line]
    assert [cell.strip() for cell in row.split("|")].count("") >= 2 + 2  # at both ends, and the shares


def test_of_two_records_of_one_network_and_device_the_runs_own_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    where = {"stage": "evaluate", "method": "hap", "seed": 0}
    own = record(tmp_path, "own", evaluated(90, 1000), **where)
    kept = record(tmp_path, "kept", evaluated(90, 1000), **where)
    other = record(tmp_path, "other", evaluated(80, 1000), instructions="avx2", **where)
    gpu = record(tmp_path, "gpu", evaluated(70, 1000), **where, device="another GPU")
    (row, elsewhere) = tables.overview(tables.collect([own, kept, gpu])[0]).to_dict("records")
    assert (row["accuracy"], row["n"], elsewhere["accuracy"]) == (90, 1, 70)
    assert pandas.isna(row["accuracy_std"])
    assert not caplog.records
    (row,) = tables.overview(tables.collect([own, other])[0]).to_dict("records")
    assert (row["accuracy"], row["n"]) == (90, 1)
    assert [line.getMessage() for line in caplog.records] == [
        f"{other} is left out: {own} is of the same network, stage and device"
    ]


def test_a_column_of_fewer_seeds_says_so(values: pandas.DataFrame) -> None:
    assert not [name for name in tables.overview(values) if name.endswith("_n")]
    frame = tables.overview(values[(values["scheme"] == "") | (values["seed"] == 1)])
    assert only_row(frame, method="hap")[["n", "accuracy_qat8_n"]].tolist() == [2, 1]
    (row,) = [line for line in tables.overview_markdown(frame).splitlines() if "| hap " in line]
    assert "88.50 ± 0.71 %" in row
    assert "| 89.20 % (n = 1) |" in row


def test_a_network_that_was_tested_in_integers_alone_has_a_row(values: pandas.DataFrame) -> None:
    frame = tables.overview(values[values["scheme"] == "qat8"])
    assert frame["n"].tolist() == [0]
    (row,) = [line for line in tables.overview_markdown(frame).splitlines() if "| hap " in line]
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
    text = tables.markdown("Pruned", tables.pruned_accuracy(values, PAPER), {"cifar10": "I"}, ["A note."])
    assert "## Table I, CIFAR-10" in text
    assert "88.47 ± 0.25 %" in text
    assert "accuracy, best epoch (the paper's protocol)" in text
    assert text.endswith("A note.\n")


def test_networks_executed_with_other_instructions_are_no_mean(tmp_path: Path) -> None:
    found = dict.fromkeys(("packed_size", "onnx_size", "parameters"), (100.0, "bytes"))
    paths = [
        record(
            *(tmp_path, f"deploy{seed}", found | {"deployed_accuracy": (90.0 + seed, "percent")}),
            **{"stage": "deploy", "method": "hap", "scheme": "qat8", "seed": seed, "instructions": sets},
        )
        for seed, sets in enumerate(("avx2", "avx2", "avx2, avx512_vnni"))
    ]
    frame = tables.deployed(tables.collect(paths)[0])
    assert frame[["instructions", "deployed_accuracy", "n"]].to_numpy().tolist() == [
        ["avx2", 90.5, 2],
        ["avx2, avx512_vnni", 92.0, 1],
    ]
    assert "| avx2, avx512_vnni |" in " ".join(tables.deployed_markdown(frame).split())
    assert "instruction sets" not in tables.deployed_markdown(frame[:1])


def test_settings_stand_beside_tables_7_to_9(tmp_path: Path) -> None:
    where = {"stage": "pretrain", "seed": 0, "settings": {"epochs": 3, "learning_rate": 0.05, "nesterov": True}}
    _, settings = tables.collect([record(tmp_path, "pretrain", {}, **where)])
    frame = tables.settings_table(settings, pandas.read_csv(CONFIG / "paper_settings.csv", keep_default_na=False))
    found = {row["setting"]: (row["value"], row["paper"], row["table"]) for _, row in frame.iterrows()}
    assert found["epochs"] == (3, 300, "VII")
    assert found["learning_rate"] == (0.05, 0.05, "VII")
    assert pandas.isna(found["nesterov"][1])
    where |= {"stage": "prune", "dataset": "digits", "settings": {"prune_ratio": 0.5, "prune_ratio_limit": 0.95}}
    _, settings = tables.collect([record(tmp_path, "prune", {}, **where)])
    frame = tables.settings_table(settings, pandas.read_csv(CONFIG / "paper_settings.csv", keep_default_na=False))
    assert frame["paper"].isna().tolist() == [True, False]
    settings["dataset"] = "cifar100"
    frame = tables.settings_table(settings, pandas.read_csv(CONFIG / "paper_settings.csv", keep_default_na=False))
    assert frame["paper"].tolist() == [0.79354, 0.95]


def test_records_of_one_cell_with_different_settings_are_all_told(tmp_path: Path) -> None:
    paths = []
    for seed, epochs in [(0, 3), (1, 3), (2, 5)]:
        where = {"stage": "pretrain", "seed": seed, "device": "x"}
        where |= {"settings": {"epochs": epochs, "stops": [1, 2], "distill": None}}
        paths.append(record(tmp_path, f"pretrain{seed}", {}, **where))
    paper = pandas.read_csv(CONFIG / "paper_settings.csv", keep_default_na=False)
    frame = tables.settings_table(tables.collect(paths)[1], paper)
    assert frame[["setting", "value", "seeds", "device"]].to_numpy().tolist() == [
        ["epochs", 3, "0, 1", "x"],
        ["stops", [1, 2], "0, 1, 2", "x"],
        ["distill", None, "0, 1, 2", "x"],
        ["epochs", 5, "2", "x"],
    ]
    assert frame["paper"].tolist()[0] == frame["paper"].tolist()[3] == 300


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((93.456, 0.1, "percent"), "93.46 ± 0.10 %"),
        ((93.456, float("nan"), "percent"), "93.46 %"),
        ((12345.0, float("nan"), "bytes"), "12.3 KB"),
        ((81626368.0, "flop"), "0.0816 GFLOP"),
        ((float("nan"), 0.1, "percent"), ""),
    ],
)
def test_numbers_show_value_spread_and_unit(arguments: tuple[float, ...], text: str) -> None:
    assert number(*arguments) == text


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text("{")
    with pytest.raises(DataError, match=r"record.json: expected a record in JSON"):
        tables.collect([tmp_path / "record.json"])


def test_schemes_stand_beside_each_other_with_bits_size_and_change(values: pandas.DataFrame, tmp_path: Path) -> None:
    paths = []
    for scheme, settings, accuracy, size in (
        ("qat4", {"bits": 4, "activation_bits": None, "epochs": 1}, 80.0, 25_000),
        ("mixed", {"bits": 8, "activation_bits": None, "epochs": 0}, 84.0, 35_000),
        ("float", {"bits": 32, "activation_bits": None, "epochs": 1}, 89.0, 180_000),
    ):
        where = {"seed": 0, "method": "hap", "scheme": scheme}
        trained = {"weight_bits": (5.5, "bits")} if scheme == "mixed" else {}
        paths.append(record(tmp_path, f"q{scheme}", trained, stage="qat", settings=settings, **where))
        tested = {"accuracy": (accuracy, "percent"), "file_size": (size, "bytes")}
        paths.append(record(tmp_path, f"e{scheme}", tested, stage="evaluate", **where))
    added, settings_frame = tables.collect(paths)
    frame = tables.precisions(pandas.concat([values, added]), settings_frame)
    before = values[(values["method"] == "hap") & (values["seed"] == 0) & (values["quantity"] == "accuracy")]
    start = before[(before["scheme"] == "") & (before["stage"] == "evaluate")]["value"].item()
    row = only_row(frame, scheme="qat4")
    assert (row["weight_bits"], row["activation_bits"], row["epochs"], row["file_size"]) == (4, 4, 1, 25_000)
    assert row["change"] == pytest.approx(80 - start)
    row = only_row(frame, scheme="mixed")
    assert (row["weight_bits"], row["activation_bits"], row["epochs"]) == (5.5, 8, 0)
    text = " ".join(tables.precisions_markdown(frame).split())
    assert "| hap | mixed | 5.5 | 8 | 0 | 84.00 % |" in text
    picture = tables.accuracy_by_bytes(frame).decode()
    assert ">mixed<" in picture
    assert ">float<" not in picture  # its file holds no integers
