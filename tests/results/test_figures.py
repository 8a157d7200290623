"""Pictures as files: what they show, in whose colours, and that the same chart is the same bytes."""

import re
from importlib.resources import files

import altair
import pandas
import pytest

from ehap.results.build import comparison
from ehap.results.families import Families, colours_of
from ehap.results.figures import svg
from ehap.results.figures.channels import kept_shares
from ehap.results.figures.colours import COLOURS, LIGHT, colour, resolved
from ehap.results.figures.curves import Curve, curves_of_cell
from ehap.results.figures.latency import latency_by_batch
from ehap.results.figures.sizes import accuracy_by_shares
from ehap.results.figures.traces import traces_by_network


def by_shares(values: pandas.DataFrame, families: Families | None = None) -> str:
    known = families or Families()
    return svg(accuracy_by_shares(comparison(values), known, colours_of(values, known))).decode()


def history(epochs: int) -> pandas.DataFrame:
    counted = range(1, epochs + 1)
    return pandas.DataFrame({"epoch": counted, "train_accuracy": counted, "test_accuracy": [50 + n for n in counted]})


def test_accuracy_stands_against_both_shares_in_the_colours_of_the_page(values: pandas.DataFrame) -> None:
    picture = by_shares(values)
    for label in ("hap", "random", "parameters kept, %", "FLOPs kept, %", "ResNet-32 on CIFAR-10"):
        assert f">{label}<" in picture
    assert LIGHT["c1"] in picture  # of hap, the first method after the dense network
    assert LIGHT["c2"] in picture
    assert LIGHT["c3"] not in picture
    assert "var(--" not in picture


def test_another_device_is_another_line(values: pandas.DataFrame) -> None:
    both = pandas.concat([values, values.assign(device="CPU", value=values["value"] - 1)])
    picture = by_shares(both)
    assert all(f">{line}<" in picture for line in ("hap, GPU", "hap, CPU", "random, GPU", "random, CPU"))


def test_budgets_of_a_sweep_are_one_line(values: pandas.DataFrame) -> None:
    swept = values.replace({"method": {"hap": "gate-30", "random": "gate-12_5"}})
    families = Families({"gate-30": frozenset({"-30"}), "gate-12_5": frozenset({"-12_5"})})
    picture = by_shares(swept, families)
    assert ">gate<" in picture
    assert ">gate-30<" not in picture


def test_of_a_run_without_an_accuracy_the_picture_says_so(values: pandas.DataFrame) -> None:
    assert ">nothing to show yet<" in by_shares(values[values["stage"] == "trace"])


def test_the_shares_that_each_layer_keeps_are_shown() -> None:
    plans = {"hap": {"conv1": 0.5, "fc": 1.0}, "gate": {"conv1": 0.25, "fc": 1.0}}
    picture = svg(kept_shares(plans, "title")).decode()
    assert all(f">{label}<" in picture for label in ("conv1", "fc", "hap", "gate", "title", "channels kept, %"))
    assert picture.index(">hap<") < picture.index(">gate<")  # in the order of the plans


def test_every_stage_has_a_panel_of_learning_curves_and_every_method_an_entry() -> None:
    curves = [
        Curve("pretrain", "dense", "", history(3)),
        Curve("finetune", "hap", "", history(1)),
        Curve("qat", "hap", "qat8", history(2)),
    ]
    picture = svg(curves_of_cell(curves, "the cell")).decode()
    for title in ("Training of the dense network", "Fine-tuning", "Quantization-aware training, qat8"):
        assert f">{title}<" in picture
    assert picture.count(">test solid, training dotted<") == 3
    assert all(f">{label}<" in picture for label in ("the cell", "dense", "hap", "epoch", "after one epoch"))
    assert ">hap, qat8<" not in picture  # there is one scheme
    several = svg(curves_of_cell([*curves, Curve("qat", "hap", "qat4", history(2))], "the cell")).decode()
    assert all(f">{label}<" in several for label in ("hap, qat8", "hap, qat4"))


def test_a_training_of_one_epoch_is_shown_beside_longer_ones() -> None:
    curves = [Curve("finetune", "hap", "", history(3)), Curve("finetune", "random", "", history(1))]
    (panel,) = curves_of_cell(curves, "title").to_dict()["concat"]
    lines, points = panel["layer"]
    assert (lines["mark"]["type"], points["mark"]["type"]) == ("line", "point")
    assert points["transform"][-1] == {"filter": {"field": "curve", "oneOf": [1]}}


def test_a_calibration_has_no_curve() -> None:
    given, calibrated = Curve("pretrain", "dense", "", history(0)), Curve("qat", "hap", "ptq8", history(0))
    assert ">nothing to show yet<" in svg(curves_of_cell([given, calibrated], "the cell")).decode()
    picture = svg(curves_of_cell([Curve("pretrain", "dense", "", history(2)), calibrated], "the cell")).decode()
    assert ">Training of the dense network<" in picture
    assert "Quantization-aware" not in picture


def test_a_benchmark_of_latency_has_a_panel_for_each_batch_and_a_bar_for_each_contender() -> None:
    rows = [
        {"model": "resnet20", "batch": batch, "engine": "onnxruntime", "network": "dense", "precision": precision}
        | {"latency_ms": 1000.0 * batch + 0.5, "executed_parameters": 9}
        for batch in (1, 64)
        for precision in ("FP32", "INT8")
    ]
    picture = svg(latency_by_batch(pandas.DataFrame(rows))).decode()
    for label in ("ResNet-20, 1 image at a time", "ResNet-20, 64 images at a time", "ONNX Runtime: dense, INT8"):
        assert f">{label}<" in picture
    assert all(f">{time}<" in picture for time in ("1,000.5", "64,000.5", "FP32", "INT8"))


def test_a_benchmark_of_traces_has_a_panel_for_each_network() -> None:
    judged = pandas.DataFrame(
        {
            "model": ["resnet20"] * 3,
            "classes": [10, 10, 100],
            "contender": ["ours fp32, 5 samples", "ours fp32, 30 samples", "exact fp32"],
            "samples_run": [5, 30, 0],
            "overlap": [0.4, 0.6, 1.0],
            "spearman": [0.3, 0.7, 1.0],
        }
    )
    picture = svg(traces_by_network(judged, pandas.Series([5.0, 30.0, 4.5]))).decode()
    for label in ("ResNet-20, 10 classes", "ResNet-20, 100 classes", "ours fp32", "exact fp32", "30 samples"):
        assert f">{label}<" in picture


def test_the_same_chart_is_the_same_bytes() -> None:
    curves = [Curve("pretrain", "dense", "", history(3)), Curve("finetune", "hap", "", history(3))]
    assert svg(curves_of_cell(curves, "title")) == svg(curves_of_cell(curves, "title"))


def test_files_have_the_colours_of_the_pages_light_theme() -> None:
    style = files("ehap.report").joinpath("assets", "page.css").read_text()
    light = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", style.split("@media")[0]))
    assert {name: light[name] for name in LIGHT} == LIGHT
    assert {f"c{index}" for index in range(COLOURS)} == {name for name in light if re.fullmatch(r"c\d+", name)}


@pytest.mark.parametrize(
    ("index", "code"),
    [(1, "#0072b2"), (11, "#1d4a6e"), (10, "#333d4a"), (23, "#553a32"), (35, "#253e55")],  # as Chromium mixes them
)
def test_colours_are_mixed_as_a_browser_mixes_them(index: int, code: str) -> None:
    assert resolved(colour(index)) == code


def test_a_picture_asks_for_nothing_from_the_network() -> None:
    chart = altair.Chart("https://example.org/data.csv").mark_point().encode(x="x:Q")
    with pytest.raises(ValueError, match="External data url not allowed"):
        svg(chart)
