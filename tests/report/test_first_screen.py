"""The first screen: its sentence and its tiles are true to the records."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ehap.report.blocks import Picture
from ehap.report.headline import facts, headlines
from ehap.report.networks import Network, networks
from ehap.report.overview import networks_section
from ehap.report.page import about
from ehap.report.paper import paper_section
from ehap.report.sentence import sentence
from ehap.results.latency import NETWORKS
from tests.report.conftest import CELL, SETTINGS, Gather, copied_to, evaluated, write
from tests.report.reading import row_of, table_of, texts


def test_the_first_screen_has_the_numbers_of_the_records(gather: Gather, benches: Path) -> None:
    material = gather()
    (headline,) = headlines(material, networks(material))
    assert (headline.name, headline.method) == ("ResNet-32 on CIFAR-10, hap", "hap")
    assert headline.sentence == (
        "ResNet-32 on CIFAR-10, hap, INT8 (qat8): file 37.2 times smaller, 4.8 points less accurate"
    )
    tiles = {
        tile.title: [
            (stop.label, stop.text.replace("\u00a0", " "), stop.beside.replace("\u00a0", " ")) for stop in tile.stops
        ]
        for tile in headline.tiles
    }
    assert tiles["Accuracy"] == [
        ("dense", "93.50 %", "± 0.71 %"),
        ("pruned", "88.50 %", "± 0.71 %, −5.00 points"),
        ("INT8", "88.75 %", "± 0.71 %, −4.75 points"),
    ]
    assert tiles["Parameters"] == [("dense", "466,906", ""), ("pruned", "46,690", "10.0 %")]
    assert tiles["FLOPs an image"][1] == ("pruned", "14.0 MFLOP", "10.0 %")
    assert [stop[1:] for stop in tiles["File as written"]] == [
        ("1,894.9 KB", ""),
        ("198.0 KB", "9.6× smaller"),
        ("51.0 KB", "37.2× smaller"),
    ]
    assert tiles["Latency of a 10 % network, not this one (new weights)"] == [
        ("dense", "40.00 ms", ""),
        ("dense INT8", "20.00 ms", "2.0× as fast"),
        ("pruned", "30.00 ms", "1.3× as fast"),
        ("pruned INT8", "16.00 ms", "2.5× as fast"),
    ]
    said = [(fact.text, fact.good) for fact in facts(material, 1, 2)]
    assert said == [
        ("all 21 records are here", True),
        ("seeds 0, 1", None),
        ("10 min of computing", None),
        ("integers run in ONNX Runtime: at most 5 of 10,000 answers differ from the simulation", True),
        ("1 of 2 comparable accuracies are the paper's within the spreads", None),
    ]


def test_what_the_run_itself_has_timed_stands_before_a_benchmark(gather: Gather, results: Path, benches: Path) -> None:
    for seed in (0, 1):
        names = ("dense_FP32", "dense_INT8", "pruned_FP32", "pruned_INT8")
        times = {
            f"latency_{batch}.{name}": (float(batch * (40 - 10 * place) + 2 * seed), "ms")
            for batch in (1, 64)
            for place, name in enumerate(names)
        }
        write(results, "latency", times, seed=seed, method="hap", scheme="qat8", settings={"threads": 1})
    settings = replace(SETTINGS, timed=SETTINGS.deployed)
    material = gather(settings)
    tile = headlines(material, networks(material))[0].tiles[-1]
    assert (tile.title, tile.note, tile.source) == ("Latency", "1 image in ONNX Runtime", "")
    assert [(stop.label, stop.text.replace("\u00a0", " "), stop.beside) for stop in tile.stops] == [
        ("dense", "41.00 ms", ""),
        ("dense INT8", "31.00 ms", "1.3× as fast"),
        ("pruned", "21.00 ms", "2.0× as fast"),
        ("pruned INT8", "11.00 ms", "3.7× as fast"),
    ]
    assert {material.records[number][1]["stage"] for number in tile.stops[0].sources} == {"latency"}


def test_no_latency_of_a_processor_with_other_instructions_is_shown(
    gather: Gather, results: Path, benches: Path
) -> None:
    def tile() -> Any:
        return headlines(gather(), networks(gather()))[0].tiles[-1]

    for path in results.rglob("record.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"instructions": "avx2"}))
    assert (tile().note, tile().command) == (
        "not measured on a processor with these instruction sets",
        'make bench-latency ARGS="--models resnet32 --name bench_latency_resnet32"',
    )
    bench = benches / "a-cpu/bench_latency.csv"
    head, *rows = bench.read_text().splitlines()
    for sets, stops in (("avx2, avx512_vnni", 0), ("avx2", 4)):
        bench.write_text("\n".join([f"{head},instructions", *(f'{row},"{sets}"' for row in rows)]) + "\n")
        assert len(tile().stops) == stops


def test_latencies_of_one_name_with_other_instructions_are_no_mean(gather: Gather, results: Path) -> None:
    for seed, sets in enumerate(("avx2", "avx2, avx512_vnni")):
        times = {f"latency_64.{name}": (10.0 + 10 * seed, "ms") for name in NETWORKS}
        write(results, "latency", times, seed=seed, method="hap", scheme="qat8", instructions=sets)
    material = gather(replace(SETTINGS, timed=SETTINGS.deployed))
    tile = headlines(material, networks(material))[0].tiles[-1]
    assert tile.note == "64 images in ONNX Runtime, on avx2"
    assert tile.stops[0].text.replace("\u00a0", " ") == "10.00 ms"
    assert [material.records[number][1]["seed"] for number in tile.stops[0].sources] == [0]


def test_latencies_of_sessions_with_the_option_for_exact_sums_are_no_mean_with_others(
    gather: Gather, results: Path
) -> None:
    for seed, option in enumerate((1.0, 0.0)):
        times = {f"latency_64.{name}": (10.0 + 10 * seed, "ms") for name in NETWORKS}
        values = times | {"exact_sums_option": (option, "1: set, 0: not needed")}
        write(results, "latency", values, seed=seed, method="hap", scheme="qat8", instructions="avx2")
    material = gather(replace(SETTINGS, timed=SETTINGS.deployed))
    tile = headlines(material, networks(material))[0].tiles[-1]
    assert tile.note == "64 images in ONNX Runtime, on avx2, with session.x64quantprecision"
    assert tile.stops[0].text.replace("\u00a0", " ") == "10.00 ms"


def test_a_file_that_did_not_shrink_is_not_called_smaller(gather: Gather, results: Path) -> None:
    for size, said in ((1_900_000, "as large"), (2_842_350, "1.5× larger")):
        for seed in (0, 1):
            write(results, "evaluate", evaluated(88.0 + seed, 46_690, size), seed=seed, method="hap")
        (headline,) = headlines(gather(), networks(gather()))
        (file,) = (tile for tile in headline.tiles if tile.title == "File as written")
        assert file.stops[1].beside == said


def test_seeds_that_the_run_still_lacks_are_not_said_to_be_there(gather: Gather) -> None:
    material = gather(replace(SETTINGS, seeds=(0, 1, 2)))
    assert "seeds 0, 1 (not yet: 2)" in [fact.text for fact in facts(material, 0, 0)]
    assert about(material)["seeds"] == "0, 1 (not yet: 2)"


def test_the_accuracy_says_what_was_trained(gather: Gather, results: Path) -> None:
    def note() -> str:
        return headlines(gather(), networks(gather()))[0].tiles[0].note

    assert note() == "2 seeds, all test images; last epoch; INT8 is qat8"
    for seed in (0, 1):
        accuracy = {"accuracy": (88.0, "percent"), "best_accuracy": (88.0, "percent")}
        write(results, "finetune", accuracy, seed=seed, method="hap", settings={"epochs": 0})
    assert note().endswith("dense: last epoch; pruned: not fine-tuned; INT8 (qat8): last epoch")
    for path in results.glob(f"quantize/{CELL}/*/hap/qat8/record.json"):
        record = json.loads(path.read_text())
        record["values"].pop("train_loss", None)
        path.write_text(json.dumps(record | {"stage": "qat"}))
    for seed in (0, 1):
        write(results, "reconstruct", {"reconstructed_accuracy": (87.0, "percent")}, seed=seed, method="hap")
    repaired = gather(replace(SETTINGS, reconstructed=(f"{CELL}/hap",)))
    headline = headlines(repaired, networks(repaired))[0]
    said = "dense: last epoch; pruned: repaired without training; INT8 (qat8): calibrated only"
    assert headline.tiles[0].note.endswith(said)
    assert headline.tiles[0].stops[1].text.startswith("88.50")  # as evaluated


def test_differences_are_of_the_same_seeds(gather: Gather, results: Path) -> None:
    (results / f"evaluate/{CELL}/seed1/dense/record.json").unlink()
    material = gather()
    found = networks(material)
    (headline,) = headlines(material, found)
    assert headline.sentence.endswith("4.8 points less accurate")
    assert headline.tiles[0].note.endswith("differences of the same seeds")
    assert [stop.beside.split(", ")[-1] for stop in headline.tiles[0].stops[1:]] == [
        "−5.00\u00a0points",
        "−4.75\u00a0points",
    ]
    row = row_of(table_of(networks_section(material, found), "networks"), "hap")
    assert texts(row)[4] == "−5.00 points"


def test_two_devices_are_told_apart(gather: Gather, results: Path, benches: Path, tmp_path: Path) -> None:
    other = copied_to(tmp_path / "other", results, "NVIDIA H200")
    material = gather(replace(SETTINGS, also_read=(str(other),)))
    found = networks(material)
    shown = headlines(material, found)
    devices = ["A CPU", "NVIDIA H200"]
    assert [one.name for one in shown] == [f"ResNet-32 on CIFAR-10, hap, {device}" for device in devices]
    assert [one.tiles[-1].note for one in shown] == [
        "64 images in ONNX Runtime",
        "not measured on a processor with these instruction sets",
    ]
    table = table_of(paper_section(material)[0], "table-I")
    mine = [texts(row)[-1] for row in table.rows if {"hap", "accuracy, last epoch", "ResNet-32"} <= set(texts(row))]
    assert mine == devices
    picture = next(block for block in networks_section(material, found).blocks if isinstance(block, Picture))
    points = next(rows for rows in picture.spec["datasets"].values() if "label" in rows[0])
    assert {point["label"] for point in points} >= {"hap on A CPU", "hap, qat8 on NVIDIA H200"}
    lines = [layer["encoding"]["detail"] for layer in picture.spec["layer"] if "detail" in layer["encoding"]]
    assert lines
    assert all({"device"} <= {field["field"] for field in detail} for detail in lines)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, ", hap: file 4.0 times smaller, 1.5 points less accurate"),
        ({"by_seed": {0: 90.25}}, ", hap: file 4.0 times smaller, 0.3 points more accurate"),
        ({"by_seed": {0: 90.01}, "file_size": 1010.0}, ", hap: file as large, as accurate"),
        ({"file_size": 2000.0}, ", hap: file 2.0 times larger, 1.5 points less accurate"),
        ({"file_size": float("nan")}, ", hap: 5.0 times fewer parameters, 1.5 points less accurate"),
        (
            {"scheme": "qat8", "int8_by_seed": {0: 89.0}, "int8_file_size": 100.0},
            ", hap, INT8 (qat8): file 10.0 times smaller, 1.0 points less accurate",
        ),
    ],
)
def test_the_verdict_tells_gains_and_losses(changed: dict[str, Any], said: str) -> None:
    of = {"dataset": "digits", "model": "resnet20", "device": "A CPU"}
    dense = Network(**of, method="dense", accuracy=90.0, by_seed={0: 90.0}, parameters=100.0, file_size=1000.0)
    pruned = {"method": "hap", "by_seed": {0: 88.5}, "parameters": 20.0, "file_size": 250.0}
    network = Network(**{**of, **pruned, **changed})
    assert sentence(network, dense) == f"ResNet-20 on digits{said}"
    assert sentence(dense, dense) == "ResNet-20 on digits: 90.0 % accurate, nothing is pruned yet"


def test_of_several_methods_the_most_accurate_of_the_smallest_comes_first(gather: Gather, results: Path) -> None:
    values = {"accuracy": (99.0, "percent"), "parameters": (400_000, "parameters"), "flops": (1e8, "flop")}
    for seed in (0, 1):
        write(results, "evaluate", values, seed=seed, method="large")
    found = networks(gather())
    assert [headline.method for headline in headlines(gather(), found)] == ["hap"]  # only what the run is about
