"""What the sections say: their numbers are those of the records, and they say what they have not."""

from dataclasses import replace
from pathlib import Path

import pytest

from ehap.report.blocks import Missing, Picture
from ehap.report.charts import MOST_POINTS, thinned
from ehap.report.engines import integers_section, latency_section
from ehap.report.headline import facts, headlines
from ehap.report.networks import networks
from ehap.report.overview import networks_section
from ehap.report.paper import paper_section, settings_section
from ehap.report.published_traces import sample_weights
from ehap.report.repair import repair_section
from ehap.report.schemes import schemes_section
from ehap.report.traces import traces_section
from tests.report.conftest import CELL, SETTINGS, Gather, evaluated, write
from tests.report.reading import findings_of, paths_of, row_of, table_of, texts


def test_every_network_is_a_row_with_the_records_behind_its_numbers(gather: Gather) -> None:
    material = gather()
    table = table_of(networks_section(material, networks(material)), "networks")
    row = row_of(table, "hap")
    assert texts(row)[3:11] == [
        *("88.50 ± 0.71 %", "−5.00 points", "10.00 %", "10.00 %", "198.0 KB", "88.75 ± 0.71 %", "51.0 KB", "2"),
    ]
    assert paths_of(material, row.cells[3]) == [f"evaluate/{CELL}/seed{seed}/hap/record.json" for seed in (0, 1)]
    assert paths_of(material, row.cells[8]) == [f"evaluate/{CELL}/seed{seed}/hap/qat8/record.json" for seed in (0, 1)]


def test_the_papers_numbers_stand_beside_ours_with_a_verdict(gather: Gather) -> None:
    material = gather()
    section, within, compared = paper_section(material)
    row = row_of(table_of(section, "table-I"), "ResNet-32", "hap", "accuracy, last epoch")
    assert texts(row)[4:] == ["88.50 ± 0.71 %", "2", "88.47 ± 0.25 %", "+0.03 points", "within", "A CPU"]
    best = row_of(table_of(section, "table-I"), "ResNet-32", "hap", "accuracy, best epoch (the paper's protocol)")
    assert texts(best)[4:] == ["89.00 ± 0.71 %", "2", "88.47 ± 0.25 %", "+0.53 points", "within", "A CPU"]
    absent = row_of(table_of(section, "table-I"), "WRN-28-8", "ehap", "accuracy, last epoch")
    assert (absent.cells[4].text, absent.cells[4].tone, absent.cells[6].text) == (
        "not yet",
        "missing",
        "95.22 ± 0.09\u00a0%",
    )
    quantized = row_of(table_of(section, "table-V"), "ResNet-32", "hap, qat8", "accuracy, last epoch")
    assert texts(quantized)[4] == "88.75 ± 0.71 %"
    size = row_of(table_of(section, "table-X"), "ResNet-32", "hap, qat8", "file as deployed")
    assert texts(size)[4:8] == ["51.0 ± 0.0 KB", "2", "244.7 KB", "−193.7 KB"]
    size = row_of(table_of(section, "table-X"), "ResNet-32", "dense", "file as the paper counts")
    assert texts(size)[4:8] == ["3,735.2 ± 0.0 KB", "2", "3,851.3 KB", "−116.0 KB"]
    assert table_of(section, "table-II").folded  # CIFAR-100 is not in this run
    assert (within, compared) == (3, 3)  # dense, pruned, quantized, each once


def test_no_verdict_on_one_seed_or_after_other_epochs(gather: Gather, results: Path) -> None:
    section, within, compared = paper_section(gather(replace(SETTINGS, seeds=(0,))))
    row = row_of(table_of(section, "table-I"), "ResNet-32", "hap", "accuracy, last epoch")
    assert texts(row)[5:9] == ["1", "88.47 ± 0.25 %", "−0.47 points", ""]
    assert (within, compared) == (0, 0)
    for path in results.glob(f"finetune/{CELL}/*/hap/record.json"):
        path.write_text(path.read_text().replace('"epochs": 300', '"epochs": 2'))
    section, within, compared = paper_section(gather())
    best = "accuracy, best epoch (the paper's protocol)"
    verdicts = [row_of(table_of(section, "table-I"), "ResNet-32", name, best).cells[8] for name in ("dense", "hap")]
    assert [(cell.text, cell.tone) for cell in verdicts] == [("within", "within"), ("other settings", "")]
    assert row_of(table_of(section, "table-V"), "hap, qat8", "ResNet-32", best).cells[8].text == "other settings"
    assert (within, compared) == (1, 1)  # the dense network's
    said = [fact.text for fact in facts(gather(), 0, 0)]
    assert "no accuracy is comparable with the paper's" in said


def test_settings_say_where_they_differ_from_the_papers(gather: Gather) -> None:
    table = table_of(settings_section(gather()), "table-VII")
    same, other = row_of(table, "epochs"), row_of(table, "learning rate")
    assert (same.cells[4].text, same.cells[5].text, same.cells[6].text) == ("300", "300", "the same")
    assert (other.cells[4].text, other.cells[5].text, other.cells[6].text) == ("0.1", "0.05", "differs")


def test_what_the_published_code_computes_has_eight_numbers(gather: Gather, benches: Path) -> None:
    found = findings_of(gather())
    assert [finding.figure.replace("\u00a0", " ") for finding in found] == [
        *("99.6 %", "336 of 512", "372,600", "2 of 2", "3.7×", "+0.42 points", "959 against 958", "3 of 6"),
    ]
    assert "from sample 4 on" in found[0].said
    assert "from sample 20 on" in found[0].said
    assert "3 samples share 40 %, 30 samples share 60 %" in found[0].ours
    assert found[1].table is not None
    assert texts(found[1].table.rows[0])[2:] == ["50,000", "512", "336", "512"]
    assert "2.00 times what it takes without, and 5.0 times ours" in found[2].ours
    assert "differ in 3 to 4 channels" in found[6].ours
    assert "HAP in 6 of 6 rows, of EHAP in 0" in found[7].ours
    assert sum(sample_weights(300)) == pytest.approx(1)
    assert sample_weights(300)[1] == pytest.approx(sample_weights(300)[0] / 256)


def test_sizes_are_told_in_both_readings(gather: Gather) -> None:
    table = findings_of(gather())[4].table
    assert table is not None
    assert [texts(row)[2:] for row in table.rows] == [
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
    table = findings_of(gather())[3].table
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
    before = findings_of(gather())[5].ours
    assert "the mean of 6 trainings" in before
    accuracy = {"accuracy": (88.0, "percent"), "best_accuracy": (88.0, "percent")}
    write(results, "finetune", accuracy, seed=0, method="hap")
    assert "the mean of 5 trainings" in findings_of(gather())[5].ours


def test_benchmarks_are_those_of_the_device_of_the_records(gather: Gather, benches: Path) -> None:
    material = gather()
    assert {path.split("measurements/")[1] for path in material.benches} == {
        *("a-cpu/bench_latency.csv", "a-cpu/bench_trace_trained.csv"),
    }
    section = traces_section(material)
    row = row_of(table_of(section, "fidelity"), "ours fp32, 30 samples")
    assert texts(row)[4:8] == ["30", "60.0 s", "600.0 s", "600 MB"]  # the judged samples cost a tenth of 300
    assert texts(table_of(section, "traces").rows[0])[3:7] == ["300", "512", "12.5 ± 0.0 s", "2,000 MB"]
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
    row = table_of(integers_section(gather()), "integers").rows[0]
    assert texts(row)[2:6] == ["hap, qat8", "88.25 ± 0.00 %", "88.20 ± 0.00 %", "4"]  # 4.5 rounds to even
    assert texts(row)[6:10] == ["88.10 ± 0.00 %", "9", "52", "0"]


def test_schemes_stand_beside_each_other(gather: Gather, results: Path) -> None:
    row = table_of(schemes_section(gather()), "schemes").rows[0]
    assert texts(row)[2:9] == ["hap", "qat8", "8", "8", "30", "88.75 ± 0.71 %", "+0.25 ± 0.00 points"]
    assert not [block for block in schemes_section(gather()).blocks if isinstance(block, Picture)]  # of a single point
    for seed in (0, 1):
        where = {"seed": seed, "method": "hap", "scheme": "mixed"}
        settings = {"bits": 8, "activation_bits": None, "epochs": 0}
        write(results, "qat", {"weight_bits": (5.5, "bits")}, settings=settings, **where)
        write(results, "evaluate", evaluated(86.0 + seed, 46_690, 40_000), **where)
    tables = replace(SETTINGS, schemes=("qat8", "mixed"))
    section = schemes_section(gather(tables))
    assert [texts(row)[3:7] for row in table_of(section, "schemes").rows] == [
        ["qat8", "8", "8", "30"],
        ["mixed", "5.5", "8", "0"],
    ]
    (picture,) = (block for block in section.blocks if isinstance(block, Picture))
    assert "the most accurate is qat8, 88.8 % in 51 KB" in picture.alt
    fills = [layer["encoding"]["fillOpacity"]["type"] for layer in picture.spec["layer"] if "fillOpacity" in str(layer)]
    assert fills == ["ordinal"]  # Vega warns of a nominal one in the browser's log
    points = next(iter(picture.spec["datasets"].values()))
    assert [(point["scheme"], point["trained"]) for point in points] == [("qat8", "trained"), ("mixed", "calibrated")]


def test_long_trainings_are_thinned_but_keep_their_ends(gather: Gather) -> None:
    history = gather().histories.query("stage == 'pretrain' and seed == 0")
    few = thinned(history)
    assert (len(history), len(few)) == (300, MOST_POINTS)
    assert (few["epoch"].iloc[0], few["epoch"].iloc[-1]) == (1, 300)
    assert few["epoch"].is_unique
