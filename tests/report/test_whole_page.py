"""The page as one file: what it needs, what it has of a partial run, and what it is refused for."""

import json
import re
from pathlib import Path

import pytest

from ehap.errors import DataError
from ehap.report import page
from ehap.report.blocks import Picture
from ehap.report.headline import headlines
from ehap.report.networks import networks
from tests.report.conftest import CELL, Gather
from tests.report.reading import sections_of


def test_every_picture_has_a_name_of_its_own_data_and_words(gather: Gather, benches: Path) -> None:
    pictures = [block for section in sections_of(gather()) for block in section.blocks if isinstance(block, Picture)]
    names = [picture.name for picture in pictures]
    assert len(set(names)) == len(names) == 7  # size, traces, shapes, three curves, latency
    for picture in pictures:
        assert len(picture.alt) > 40, picture.name
        assert all(rows for rows in picture.spec["datasets"].values()), picture.name


def test_a_partial_run_says_what_is_missing_and_what_makes_it(gather: Gather, results: Path) -> None:
    for path in results.glob(f"evaluate/{CELL}/*/hap/qat8/record.json"):
        path.unlink()
    material = gather()
    paths = [f"results/tiny/evaluate/{CELL}/seed{seed}/hap/qat8/record.json" for seed in (0, 1)]
    assert material.missing == {"evaluate": paths}
    assert [stop.label for stop in headlines(material, networks(material))[0].tiles[0].stops] == ["dense", "pruned"]
    text = page(material)
    assert "19 of 21 records are here" in text
    assert f"<code>.venv/bin/snakemake {paths[0]} --configfile tiny.yaml</code>" in text


def test_a_run_that_has_not_begun_has_a_page(gather: Gather, results: Path) -> None:
    for path in results.rglob("record.json"):
        path.unlink()
    material = gather()
    text = page(material)
    assert "0 of 21 records are here" in text
    assert "<h1>No network has been tested yet<" in text
    assert "No network has been tested yet. <code>.venv/bin/snakemake --configfile tiny.yaml</code>" in text
    for section in sections_of(material):
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
