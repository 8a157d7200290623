"""What the sections say: their numbers are those of the records, and they say what they have not."""

import json
from dataclasses import replace
from pathlib import Path

from ehap.report import Material
from ehap.report.blocks import Missing, Picture
from ehap.report.curves import curves_section
from ehap.report.headline import facts
from ehap.report.integers import integers_section
from ehap.report.networks import networks
from ehap.report.overview import networks_section
from ehap.report.paper import paper_section
from ehap.report.repair import repair_section
from ehap.report.schemes import schemes_section
from ehap.report.settings import settings_section
from ehap.report.shapes import shapes_section
from ehap.results.figures.curves import MOST_POINTS, thinned
from tests.report.conftest import CELL, SETTINGS, Gather, copied_to, evaluated, write
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


def test_a_run_without_repairs_offers_the_shortest_one(gather: Gather) -> None:
    (missing,) = repair_section(gather(), []).blocks
    assert isinstance(missing, Missing)
    assert missing.command == ".venv/bin/snakemake --configfile config/short_way.yaml"


def test_integers_are_audited(gather: Gather) -> None:
    row = table_of(integers_section(gather()), "integers").rows[0]
    assert texts(row)[2:6] == ["hap, qat8", "88.25 ± 0.00 %", "88.20 ± 0.00 %", "4.5"]
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


def _shapes(material: Material) -> list[tuple[str, list[str]]]:
    """Return the title of each picture of shapes and the names of the plans in it."""
    pictures = [block for block in shapes_section(material).blocks if isinstance(block, Picture)]
    names = [[row["name"] for rows in picture.spec["datasets"].values() for row in rows] for picture in pictures]
    return [(picture.title, list(dict.fromkeys(found))) for picture, found in zip(pictures, names, strict=True)]


def test_of_a_single_epoch_training_and_test_are_told_apart(gather: Gather, results: Path) -> None:
    for path in results.glob(f"quantize/{CELL}/*/hap/qat8/history.csv"):
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    pictures = [block for block in curves_section(gather()).blocks if isinstance(block, Picture)]
    *lines, points = [picture.spec for picture in pictures]
    assert [spec["mark"]["type"] for spec in lines] == ["line", "line"]
    assert points["mark"]["type"] == "point"
    assert points["encoding"]["fillOpacity"]["scale"] == {"domain": ["test", "train"], "range": [1, 0]}
    assert pictures[-1].alt.endswith("after 1 epoch.")
    for path in results.glob(f"quantize/{CELL}/*/hap/qat8/record.json"):
        path.write_text(path.read_text().replace('"epochs": 30', '"epochs": 1'))
    best = findings_of(gather())[5]
    assert "a mean over 4 trainings of several epochs" in best.ours  # of one epoch there is nothing to choose


def test_schemes_of_one_size_are_no_picture_and_their_words_stay_apart(gather: Gather, results: Path) -> None:
    def pictures(size: int) -> list[Picture]:
        for seed in (0, 1):
            where = {"seed": seed, "method": "hap", "scheme": "ptq8"}
            write(results, "qat", {}, settings={"bits": 8, "activation_bits": None, "epochs": 0}, **where)
            write(results, "evaluate", evaluated(86.0 + seed, 46_690, size), **where)
        section = schemes_section(gather(replace(SETTINGS, schemes=("qat8", "ptq8"))))
        return [block for block in section.blocks if isinstance(block, Picture)]

    assert pictures(51_100) == []
    (picture,) = pictures(60_000)
    words = [layer["mark"]["dy"] for layer in picture.spec["layer"] if layer["mark"]["type"] == "text"]
    assert len(words) == 2
    assert words[0] > 0 > words[1]


def test_columns_without_a_word_are_left_out(gather: Gather, results: Path) -> None:
    columns = table_of(integers_section(gather()), "integers").columns
    assert {"#in Inductor", "#mismatches there"} <= set(columns)
    assert "device" not in table_of(networks_section(gather(), networks(gather())), "networks").columns  # there is one
    for path in results.rglob("deploy/**/record.json"):
        record = json.loads(path.read_text())
        record["values"] = {name: value for name, value in record["values"].items() if "inductor" not in name}
        path.write_text(json.dumps(record))
    less = table_of(integers_section(gather()), "integers")
    assert set(columns) - set(less.columns) == {"#in Inductor", "#mismatches there"}
    assert {len(row.cells) for row in less.rows} == {len(less.columns)}


def test_plans_of_two_devices_or_seeds_are_drawn_apart_and_named(gather: Gather, results: Path, tmp_path: Path) -> None:
    title = "Channels kept, ResNet-32 on CIFAR-10, seed 0"
    assert _shapes(gather()) == [(title, ["hap"])]  # of two seeds the first
    layers = gather().plans[0].widths
    more = write(results, "prune", {"parameters": (100_000, "parameters")}, seed=1, method="random")
    more.with_name("plan.json").write_text(json.dumps({"kept": {layer: [0] for layer in layers}}))
    both = replace(SETTINGS, methods=("hap", "random"))
    assert _shapes(gather(both)) == [(title, ["hap", "random (seed 1)"])]
    other = copied_to(tmp_path / "other", results, "A GPU")
    plan = {"kept": {layer: [0, 1] for layer in layers}}
    for path in other.rglob("hap/plan.json"):
        path.write_text(json.dumps(plan))
    material = gather(replace(both, also_read=(str(other),)))
    assert _shapes(material) == [
        (f"{title}, A CPU", ["hap", "random (seed 1)"]),
        (f"{title}, A GPU", ["hap", "random (seed 1)"]),
    ]
    pictures = [block for block in shapes_section(material).blocks if isinstance(block, Picture)]
    kept = [
        {row["kept"] for rows in picture.spec["datasets"].values() for row in rows if row["method"] == "hap"}
        for picture in pictures
    ]
    assert (len(kept[0]), kept[1]) == (4, {2})
    assert len({picture.name for picture in pictures}) == 2
    table = findings_of(material)[3].table
    assert table is not None
    assert [texts(row)[1] for row in table.rows if "hap" in texts(row)[1]] == 2 * ["hap on A CPU"] + 2 * [
        "hap on A GPU"
    ]
    assert [len(row.cells[5].sources) for row in table.rows] == [1] * len(table.rows)
