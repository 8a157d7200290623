"""Where a number comes from: every number of every table, and of the first screen, says it."""

from pathlib import Path
from typing import Any

from ehap.report.blocks import Cell, Table
from ehap.report.headline import headlines
from ehap.report.latency import latency_section
from ehap.report.networks import networks
from ehap.report.paper import paper_section
from ehap.report.schemes import schemes_section
from ehap.report.settings import settings_section
from ehap.report.text import MISSING
from ehap.report.traces import traces_section
from tests.report.conftest import CELL, CONFIG, Gather
from tests.report.reading import findings_of, paths_of, row_of, sections_of, table_of

MADE_UP = ("published-limit",)
"""Run on a ranking that the page makes up, as its words say."""


def test_every_number_of_every_table_says_where_it_comes_from(gather: Gather, benches: Path) -> None:
    material = gather()
    tables = [block for section in sections_of(material) for block in section.blocks if isinstance(block, Table)]
    tables += [finding.table for finding in findings_of(material) if finding.table]
    names = {table.name for table in tables}
    assert names >= {"networks", "table-I", "table-XI", "table-VII", "fidelity", "traces", "schemes", "integers"}
    assert names >= {"latencies", "published-sizes", "published-unions", "published-batch", "published-best"}
    silent = [
        (table.name, column, cell.text)
        for table in tables
        for row in table.rows
        for column, cell in zip(table.columns, row.cells, strict=True)
        if column.startswith("#") and cell.text not in ("", MISSING) and not cell.sources
        if table.name not in (*MADE_UP, "records") and cell.tone != "missing"
    ]
    assert silent == []
    stops = [stop for tile in headlines(material, networks(material))[0].tiles for stop in tile.stops]
    assert [stop for stop in stops if not stop.sources] == []
    assert max(max(cell.sources, default=0) for table in tables for row in table.rows for cell in row.cells) < len(
        material.evidence
    )


def test_a_mean_over_seeds_shows_the_records_of_all(gather: Gather) -> None:
    row = table_of(schemes_section(gather()), "schemes").rows[0]
    tested, before = (f"seed{{}}/hap{scheme}/record.json" for scheme in ("/qat8", ""))
    evaluated = [f"evaluate/{CELL}/{path.format(seed)}" for path in (tested, before) for seed in (0, 1)]
    assert paths_of(gather(), row.cells[4]) == [f"quantize/{CELL}/{tested.format(seed)}" for seed in (0, 1)]
    assert paths_of(gather(), row.cells[7]) == evaluated[:2]
    assert paths_of(gather(), row.cells[8]) == evaluated
    table = findings_of(gather())[4].table
    assert table is not None
    assert paths_of(gather(), table.rows[2].cells[5]) == evaluated[:2]


def test_numbers_of_files_show_their_line(gather: Gather, benches: Path) -> None:
    material = gather()

    def said(cell: Cell) -> list[dict[str, Any]]:
        return [material.evidence[number] for number in cell.sources]

    (judged,) = said(row_of(table_of(traces_section(material), "fidelity"), "ours fp32, 30 samples").cells[8])
    assert judged["path"].endswith("a-cpu/bench_trace_trained.csv")
    assert (judged["said"]["line"], judged["said"]["overlap"]) == (5, 0.6)
    (measured,) = said(table_of(latency_section(material), "latencies").rows[3].cells[7])
    assert (measured["said"]["line"], measured["said"]["latency_ms"]) == (5, 16.0)
    paper = (CONFIG / "paper_results.csv").read_text().splitlines()
    size = row_of(table_of(paper_section(material)[0], "table-X"), "ResNet-32", "hap, qat8", "file as deployed")
    (printed,) = said(size.cells[6])
    assert printed["path"] == "config/paper_results.csv"
    assert paper[printed["said"]["line"] - 1].startswith("X,cifar10,resnet32,file_size_quantized,")
    *ours, theirs = said(size.cells[7])  # the difference is of both
    assert (len(ours), theirs) == (2, printed)
    (setting,) = said(row_of(table_of(settings_section(material), "table-VII"), "epochs").cells[5])
    lines = (CONFIG / "paper_settings.csv").read_text().splitlines()
    assert lines[setting["said"]["line"] - 1] == "VII,pretrain,,resnet32,epochs,300"
