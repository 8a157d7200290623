"""What the page says: its numbers are those of the records, and it says what it has not."""

import json
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from ehap.errors import DataError
from ehap.report import Material, page
from ehap.report.blocks import Cell, Finding, Missing, Picture, Row, Section, Table
from ehap.report.charts import COLOURS, MOST_POINTS, colour, thinned
from ehap.report.curves import curves_section
from ehap.report.engines import integers_section, latency_section
from ehap.report.headline import facts, headlines
from ehap.report.networks import Network, networks
from ehap.report.overview import networks_section
from ehap.report.paper import paper_section, settings_section
from ehap.report.published import published_section
from ehap.report.published_traces import sample_weights
from ehap.report.records import records_section
from ehap.report.repair import repair_section
from ehap.report.schemes import schemes_section
from ehap.report.shapes import shapes_section
from ehap.report.text import duration, family, number
from ehap.report.traces import traces_section
from ehap.report.verdict import verdict
from tests.report.conftest import CELL, SETTINGS, Gather, evaluated, write


def _table(section: Section, name: str) -> Table:
    found = [block for block in section.blocks if isinstance(block, Table) and block.name == name]
    assert len(found) == 1, [block for block in section.blocks if isinstance(block, Table)]
    return found[0]


def _texts(row: Row) -> list[str]:
    return [cell.text.replace("\u00a0", " ") for cell in row.cells]


def _row(table: Table, *starts: str) -> Row:
    found = [row for row in table.rows if all(text in _texts(row) for text in starts)]
    assert len(found) == 1, [_texts(row) for row in table.rows]
    return found[0]


def _paths(material: Material, cell: Cell) -> list[str]:
    return [material.records[number][0].split("/tiny/")[1] for number in cell.sources]


def _findings(material: Material) -> list[Finding]:
    section = published_section(material, networks(material))
    return [block for block in section.blocks if isinstance(block, Finding)]


def _sections(material: Material) -> list[Section]:
    found = networks(material)
    whole = (networks_section, repair_section, published_section)
    parts = (traces_section, settings_section, shapes_section, curves_section, schemes_section, integers_section)
    parts += (latency_section,)
    sections = [*(make(material, found) for make in whole), *(make(material) for make in (*parts, records_section))]
    return [paper_section(material)[0], *sections]


def test_the_first_screen_has_the_numbers_of_the_records(gather: Gather, benches: Path) -> None:
    material = gather()
    (headline,) = headlines(material, networks(material))
    assert (headline.name, headline.method) == ("ResNet-32 on CIFAR-10, hap", "hap")
    assert headline.verdict == (
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
    assert headline.verdict.endswith("4.8 points less accurate")
    assert headline.tiles[0].note.endswith("differences of the same seeds")
    assert [stop.beside.split(", ")[-1] for stop in headline.tiles[0].stops[1:]] == [
        "−5.00\u00a0points",
        "−4.75\u00a0points",
    ]
    row = _row(_table(networks_section(material, found), "networks"), "hap")
    assert _texts(row)[4] == "−5.00 points"


def test_two_devices_are_told_apart(gather: Gather, results: Path, benches: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for path in results.rglob("record.json"):
        copy = other / path.relative_to(results)
        copy.parent.mkdir(parents=True)
        copy.write_text(path.read_text().replace("A CPU", "NVIDIA H200"))
    material = gather(replace(SETTINGS, also_read=(str(other),)))
    found = networks(material)
    shown = headlines(material, found)
    devices = ["A CPU", "NVIDIA H200"]
    assert [one.name for one in shown] == [f"ResNet-32 on CIFAR-10, hap, {device}" for device in devices]
    assert [one.tiles[-1].note for one in shown] == ["64 images in ONNX Runtime", "not measured on this device"]
    table = _table(paper_section(material)[0], "table-I")
    mine = [_texts(row)[-1] for row in table.rows if {"hap", "accuracy, last epoch", "ResNet-32"} <= set(_texts(row))]
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
        ({"by_seed": {0: 90.25}}, ", hap: file 4.0 times smaller, 0.2 points more accurate"),
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
    assert verdict(network, dense) == f"ResNet-20 on digits{said}"
    assert verdict(dense, dense) == "ResNet-20 on digits: 90.0 % accurate, nothing is pruned yet"


def test_of_several_methods_the_most_accurate_of_the_smallest_comes_first(gather: Gather, results: Path) -> None:
    values = {"accuracy": (99.0, "percent"), "parameters": (400_000, "parameters"), "flops": (1e8, "flop")}
    for seed in (0, 1):
        write(results, "evaluate", values, seed=seed, method="large")
    found = networks(gather())
    assert [headline.method for headline in headlines(gather(), found)] == ["hap"]  # only what the run is about


def test_every_network_is_a_row_with_the_records_behind_its_numbers(gather: Gather) -> None:
    material = gather()
    table = _table(networks_section(material, networks(material)), "networks")
    row = _row(table, "hap")
    assert _texts(row)[3:11] == [
        *("88.50 ± 0.71 %", "−5.00 points", "10.00 %", "10.00 %", "198.0 KB", "88.75 ± 0.71 %", "51.0 KB", "2"),
    ]
    assert _paths(material, row.cells[3]) == [f"evaluate/{CELL}/seed{seed}/hap/record.json" for seed in (0, 1)]
    assert _paths(material, row.cells[8]) == [f"evaluate/{CELL}/seed{seed}/hap/qat8/record.json" for seed in (0, 1)]


def test_the_papers_numbers_stand_beside_ours_with_a_verdict(gather: Gather) -> None:
    material = gather()
    section, within, compared = paper_section(material)
    row = _row(_table(section, "table-I"), "ResNet-32", "hap", "accuracy, last epoch")
    assert _texts(row)[4:] == ["88.50 ± 0.71 %", "2", "88.47 ± 0.25 %", "+0.03 points", "within", "A CPU"]
    best = _row(_table(section, "table-I"), "ResNet-32", "hap", "accuracy, best epoch (the paper's protocol)")
    assert _texts(best)[4:] == ["89.00 ± 0.71 %", "2", "88.47 ± 0.25 %", "+0.53 points", "within", "A CPU"]
    absent = _row(_table(section, "table-I"), "WRN-28-8", "ehap", "accuracy, last epoch")
    assert (absent.cells[4].text, absent.cells[4].tone, absent.cells[6].text) == (
        "not yet",
        "missing",
        "95.22 ± 0.09\u00a0%",
    )
    quantized = _row(_table(section, "table-V"), "ResNet-32", "hap, qat8", "accuracy, last epoch")
    assert _texts(quantized)[4] == "88.75 ± 0.71 %"
    size = _row(_table(section, "table-X"), "ResNet-32", "hap, qat8", "file as deployed")
    assert _texts(size)[4:8] == ["51.0 ± 0.0 KB", "2", "244.7 KB", "−193.7 KB"]
    size = _row(_table(section, "table-X"), "ResNet-32", "dense", "file as the paper counts")
    assert _texts(size)[4:8] == ["3,735.2 ± 0.0 KB", "2", "3,851.3 KB", "−116.0 KB"]
    assert _table(section, "table-II").folded  # CIFAR-100 is not in this run
    assert (within, compared) == (3, 3)  # dense, pruned, quantized, each once


def test_no_verdict_on_one_seed_or_after_other_epochs(gather: Gather, results: Path) -> None:
    section, within, compared = paper_section(gather(replace(SETTINGS, seeds=(0,))))
    row = _row(_table(section, "table-I"), "ResNet-32", "hap", "accuracy, last epoch")
    assert _texts(row)[5:9] == ["1", "88.47 ± 0.25 %", "−0.47 points", ""]
    assert (within, compared) == (0, 0)
    for path in results.glob(f"finetune/{CELL}/*/hap/record.json"):
        path.write_text(path.read_text().replace('"epochs": 300', '"epochs": 2'))
    section, within, compared = paper_section(gather())
    best = "accuracy, best epoch (the paper's protocol)"
    verdicts = [_row(_table(section, "table-I"), "ResNet-32", name, best).cells[8] for name in ("dense", "hap")]
    assert [(cell.text, cell.tone) for cell in verdicts] == [("within", "within"), ("other settings", "")]
    assert _row(_table(section, "table-V"), "hap, qat8", "ResNet-32", best).cells[8].text == "other settings"
    assert (within, compared) == (1, 1)  # the dense network's
    said = [fact.text for fact in facts(gather(), 0, 0)]
    assert "no accuracy is comparable with the paper's" in said


def test_settings_say_where_they_differ_from_the_papers(gather: Gather) -> None:
    table = _table(settings_section(gather()), "table-VII")
    same, other = _row(table, "epochs"), _row(table, "learning rate")
    assert (same.cells[4].text, same.cells[5].text, same.cells[6].text) == ("300", "300", "the same")
    assert (other.cells[4].text, other.cells[5].text, other.cells[6].text) == ("0.1", "0.05", "differs")


def test_what_the_published_code_computes_has_eight_numbers(gather: Gather, benches: Path) -> None:
    found = _findings(gather())
    assert [finding.figure.replace("\u00a0", " ") for finding in found] == [
        *("99.6 %", "336 of 512", "372,600", "2 of 2", "3.7×", "+0.42 points", "959 against 958", "3 of 6"),
    ]
    assert "from sample 4 on" in found[0].said
    assert "from sample 20 on" in found[0].said
    assert "3 samples share 40 %, 30 samples share 60 %" in found[0].ours
    assert found[1].table is not None
    assert _texts(found[1].table.rows[0])[2:] == ["50,000", "512", "336", "512"]
    assert "2.00 times what it takes without, and 5.0 times ours" in found[2].ours
    assert "differ in 3 to 4 channels" in found[6].ours
    assert "HAP in 6 of 6 rows, of EHAP in 0" in found[7].ours
    assert sum(sample_weights(300)) == pytest.approx(1)
    assert sample_weights(300)[1] == pytest.approx(sample_weights(300)[0] / 256)


def test_sizes_are_told_in_both_readings(gather: Gather) -> None:
    table = _findings(gather())[4].table
    assert table is not None
    assert [_texts(row)[2:] for row in table.rows] == [
        ["3,735.2 KB", "weights and momentum", "1,894.9 KB", "1.97"],
        ["373.5 KB", "weights and momentum", "198.0 KB", "1.89"],
        ["186.8 KB", "integers as float32", "51.0 KB", "3.66"],
    ]


def test_channels_that_a_set_would_scramble_are_counted(gather: Gather) -> None:
    plan = gather().plans[0]
    # The first block adds (1, 8) to the stem's (0, 8), the four behind it (0, 8) to the union; then both sides agree.
    orders = [tuple({1, 8, 0}), *4 * [tuple({0, 8, 1})]]
    expected = sum(one != other for order in orders for one, other in zip(order, sorted(order), strict=True))
    assert expected > 0  # else this plan would test nothing
    assert (plan.unions, plan.union_channels, plan.out_of_order) == (5, 15, expected)
    table = _findings(gather())[3].table
    assert table is not None
    assert [cell.text for cell in table.rows[0].cells[3:6]] == ["5", "15", str(expected)]


def test_the_limit_of_a_layer_is_run_by_both_rules(gather: Gather) -> None:
    limits = {limit.width: (list(limit.ours), list(limit.published)) for limit in gather().limits}
    assert limits == {
        16: ([15], [0]),  # the published rule leaves none and so takes the first, here the worst
        32: ([30, 31], [31]),
        64: ([60, 61, 62, 63], [61, 62, 63]),
    }


def test_untrained_networks_do_not_count_as_trainings(gather: Gather, results: Path) -> None:
    before = _findings(gather())[5].ours
    assert "the mean of 6 trainings" in before
    accuracy = {"accuracy": (88.0, "percent"), "best_accuracy": (88.0, "percent")}
    write(results, "finetune", accuracy, seed=0, method="hap")
    assert "the mean of 5 trainings" in _findings(gather())[5].ours


def test_benchmarks_are_those_of_the_device_of_the_records(gather: Gather, benches: Path) -> None:
    material = gather()
    assert {path.split("measurements/")[1] for path in material.benches} == {
        *("a-cpu/bench_latency.csv", "a-cpu/bench_trace_trained.csv"),
    }
    section = traces_section(material)
    row = _row(_table(section, "fidelity"), "ours fp32, 30 samples")
    assert _texts(row)[4:8] == ["30", "60.0 s", "600.0 s", "600 MB"]  # the judged samples cost a tenth of 300
    assert _texts(_table(section, "traces").rows[0])[3:7] == ["300", "512", "12.5 ± 0.0 s", "2,000 MB"]
    (picture,) = latency_section(material).blocks
    assert isinstance(picture, Picture)
    assert "onnxruntime: plain sums, aligned, INT8, 16.0 ms" in picture.alt


def test_without_benchmarks_the_page_says_how_to_get_them(gather: Gather) -> None:
    (missing,) = latency_section(gather()).blocks
    assert isinstance(missing, Missing)
    assert missing.command == 'make bench-latency ARGS="--models resnet32"'
    assert headlines(gather(), networks(gather()))[0].tiles[-1].command == missing.command


def test_a_run_without_repairs_offers_the_shortest_one(gather: Gather) -> None:
    (missing,) = repair_section(gather(), []).blocks
    assert isinstance(missing, Missing)
    assert missing.command == ".venv/bin/snakemake --configfile config/short_way.yaml"


def test_integers_are_audited(gather: Gather) -> None:
    row = _table(integers_section(gather()), "integers").rows[0]
    assert _texts(row)[2:6] == ["hap, qat8", "88.25 ± 0.00 %", "88.20 ± 0.00 %", "4"]  # 4.5 rounds to even
    assert _texts(row)[6:10] == ["88.10 ± 0.00 %", "9", "52", "0"]


def test_schemes_stand_beside_each_other(gather: Gather, results: Path) -> None:
    row = _table(schemes_section(gather()), "schemes").rows[0]
    assert _texts(row)[2:9] == ["hap", "qat8", "8", "8", "30", "88.75 ± 0.71 %", "+0.25 ± 0.00 points"]
    assert not [block for block in schemes_section(gather()).blocks if isinstance(block, Picture)]  # of a single point
    for seed in (0, 1):
        where = {"seed": seed, "method": "hap", "scheme": "mixed"}
        settings = {"bits": 8, "activation_bits": None, "epochs": 0}
        write(results, "qat", {"weight_bits": (5.5, "bits")}, settings=settings, **where)
        write(results, "evaluate", evaluated(86.0 + seed, 46_690, 40_000), **where)
    tables = replace(SETTINGS, schemes=("qat8", "mixed"))
    section = schemes_section(gather(tables))
    assert [_texts(row)[3:7] for row in _table(section, "schemes").rows] == [
        ["qat8", "8", "8", "30"],
        ["mixed", "5.5", "8", "0"],
    ]
    (picture,) = (block for block in section.blocks if isinstance(block, Picture))
    assert "the most accurate is qat8, 88.8 % in 51 KB" in picture.alt
    fills = [layer["encoding"]["fillOpacity"]["type"] for layer in picture.spec["layer"] if "fillOpacity" in str(layer)]
    assert fills == ["ordinal"]  # Vega warns of a nominal one in the browser's log
    points = next(iter(picture.spec["datasets"].values()))
    assert [(point["scheme"], point["trained"]) for point in points] == [("qat8", "trained"), ("mixed", "calibrated")]


def test_every_picture_has_a_name_of_its_own_data_and_words(gather: Gather, benches: Path) -> None:
    pictures = [block for section in _sections(gather()) for block in section.blocks if isinstance(block, Picture)]
    names = [picture.name for picture in pictures]
    assert len(set(names)) == len(names) == 7  # size, traces, shapes, three curves, latency
    for picture in pictures:
        assert len(picture.alt) > 40, picture.name
        assert all(rows for rows in picture.spec["datasets"].values()), picture.name


def test_long_trainings_are_thinned_but_keep_their_ends(gather: Gather) -> None:
    history = gather().histories.query("stage == 'pretrain' and seed == 0")
    few = thinned(history)
    assert (len(history), len(few)) == (300, MOST_POINTS)
    assert (few["epoch"].iloc[0], few["epoch"].iloc[-1]) == (1, 300)
    assert few["epoch"].is_unique


def test_a_partial_run_says_what_is_missing_and_what_makes_it(gather: Gather, results: Path) -> None:
    for path in results.glob(f"evaluate/{CELL}/*/hap/qat8/record.json"):
        path.unlink()
    material = gather()
    paths = [f"results/tiny/evaluate/{CELL}/seed{seed}/hap/qat8/record.json" for seed in (0, 1)]
    assert material.missing == {"evaluate": paths}
    assert [stop.label for stop in headlines(material, networks(material))[0].tiles[0].stops] == ["dense", "pruned"]
    text = page(material)
    assert "19 of 21 records are here" in text
    assert f"<code>.venv/bin/snakemake --configfile tiny.yaml {paths[0]}</code>" in text


def test_a_run_that_has_not_begun_has_a_page(gather: Gather, results: Path) -> None:
    for path in results.rglob("record.json"):
        path.unlink()
    material = gather()
    text = page(material)
    assert "0 of 21 records are here" in text
    assert "<h1>No network has been tested yet<" in text
    assert "No network has been tested yet. <code>.venv/bin/snakemake --configfile tiny.yaml</code>" in text
    for section in _sections(material):
        assert section.blocks, section.name
    assert "93.83 ± 0.09" in text  # the paper's numbers are there all the same


def test_the_page_needs_nothing_else_and_text_cannot_break_out_of_it(gather: Gather, results: Path) -> None:
    path = results / f"finetune/{CELL}/seed0/hap/record.json"
    evil = "</script><script>alert(1)</script>"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"settings": {"note": evil}, "device": evil}))
    text = page(gather())
    assert evil not in text
    assert not re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=[\"']?(?:https?:)?//", text)
    assert "default-src 'none'" in text
    assert len(text) < 5_000_000
    data = re.search(r'id="data-records">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    assert sum(record["settings"].get("note") == evil for record in json.loads(data.group(1))) == 1


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        (f"evaluate/{CELL}/seed0/hap/record.json", '{"stage": "eval', "expected a record in JSON"),
        (f"evaluate/{CELL}/seed0/hap/record.json", "[]", "expected a record with stage, values"),
        (
            f"evaluate/{CELL}/seed0/hap/record.json",
            '{"stage": "evaluate", "settings": {}, "values": {"accuracy": 3}}',
            "each with",
        ),
        (f"prune/{CELL}/seed1/hap/plan.json", '{"kept": {"conv1": [0]}}', "expected the plan of a resnet32"),
        (f"pretrain/{CELL}/seed0/history.csv", "epoch\n1\n", "expected a history with epoch, train_accuracy"),
    ],
)
def test_what_is_damaged_is_named(gather: Gather, results: Path, file: str, content: str, said: str) -> None:
    (results / file).write_text(content)
    with pytest.raises(DataError, match=said) as caught:
        gather()
    assert str(results / file) in str(caught.value)


def test_a_benchmark_of_another_form_is_named(gather: Gather, benches: Path) -> None:
    (benches / "a-cpu/bench_latency.csv").write_text("model,milliseconds\nresnet32,3\n")
    with pytest.raises(DataError, match=r"bench_latency.csv: expected the columns model, batch"):
        gather()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((93.456, "percent", 0.1), "93.46 ± 0.10 %"),
        ((-1.25, "percentage points"), "−1.25 points"),
        ((float("nan"), "percent"), "–"),
        ((1_107_300.0, "bytes"), "1,107.3 KB"),
        ((334_868_480.0, "memory"), "335 MB"),
        ((272_474.0, ""), "272,474"),
    ],
)
def test_numbers_are_written_with_their_unit(arguments: tuple[float, str], text: str) -> None:
    assert number(*arguments).replace("\u00a0", " ").strip() == text


def test_no_two_methods_look_alike_and_all_stand_out_from_the_ground() -> None:
    assert len({colour(index) for index in range(40)}) == 40
    style = files("ehap.report").joinpath("assets", "page.css").read_text()
    themes = [dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block)) for block in style.split("color-scheme: dark")[:2]]
    for theme in themes:
        for index in range(COLOURS):
            assert _contrast(theme[f"c{index}"], theme["card"]) >= 3, (index, theme[f"c{index}"])  # WCAG 2.2, 1.4.11


def _contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, 1 to 21, as WCAG 2.2 defines it."""

    def luminance(colour: str) -> float:
        shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_methods_of_a_sweep_are_one_family() -> None:
    names = ["gate-30", "gate-12_5", "l2-25-draw1", "l2-few-images64", "hap", "ehap-bf16"]
    assert [family(name) for name in names] == ["gate", "gate", "l2", "l2-few", "hap", "ehap-bf16"]


@pytest.mark.parametrize(("seconds", "text"), [(12.4, "12 s"), (150, "2 min"), (3725, "1 h 02 min")])
def test_durations_are_told_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text
