"""Latency of dense and pruned networks, in FP32 and INT8, as benchmarks measured it."""

from typing import Any

import pandas

from ehap.report import charts
from ehap.report.blocks import Block, Cell, Missing, Picture, Row, Section, Table
from ehap.report.cells import narrow, number_cell, parts, rows_of, sourced
from ehap.report.material import Material
from ehap.report.text import counted
from ehap.report.tiles import ALIGNED
from ehap.runtime import slug
from ehap.settings.names import DENSE, MODELS

ENGINES = {"onnxruntime": "ONNX Runtime", "inductor": "Inductor", "eager": "torch, eager"}
PRECISIONS = {"FP32": 0, "INT8": 1}
COLUMNS = (
    *("model", "engine", "network", "precision", "#images", "#threads", "instruction sets", "weights", "#milliseconds"),
    *("#parameters executed", "#parameters kept", "file"),
)


def latency_section(material: Material) -> Section:
    """Return the latency that was measured on this device, dense INT8 among it."""
    lead = (
        "Medians of interleaved rounds. “Plain sums” is a pruned network laid into one whose residual sums need no "
        "index operations, “aligned” with widths padded for the engine, as deployed."
    )
    models = {str(model) for model in material.values["model"] if model} or set(material.models)
    blocks: list[Block] = []
    rows: list[Row] = []
    for path, bench in material.bench("bench_latency").items():
        mine = bench[bench["model"].isin(models)]
        blocks += [_picture(path, part) for part in parts(mine, ["model", "batch", "threads", "weights"])]
        rows += [_row(material, path, row) for row in rows_of(mine.reset_index())]
    if rows:
        blocks.append(narrow(Table("latencies", "Benchmarks of latency", COLUMNS, rows, folded=True)))
    else:
        named = " ".join(sorted(models)) or "resnet56"
        text = "No latency has been measured on this device for a model of this run."
        blocks.append(Missing(text, f'make bench-latency ARGS="--models {named}"'))
    return Section("latency", "Latency", lead, blocks)


def _picture(path: str, part: pandas.DataFrame) -> Picture:
    """Return the bars of one model, number of images and of threads."""
    first = part.iloc[0]
    ordered = part.sort_values(["engine", "network", "precision"])
    label = ordered["engine"].map(_engine) + ": " + ordered["network"] + ", " + ordered["precision"]
    said = [f"{size:,.0f} parameters executed" for size in ordered["executed_parameters"]]
    data = ordered.assign(label=label, said=said)[["label", "precision", "latency_ms", "said"]]
    best = data.sort_values("latency_ms").iloc[0]
    kept = part.drop_duplicates("network").set_index("network")["kept_parameters"]
    pruned = f"pruned to {100 * kept[ALIGNED] / kept[DENSE]:.0f} %, " if {ALIGNED, DENSE} <= set(kept.index) else ""
    title = f"{MODELS.get(first['model'], first['model'])}, {pruned}{counted(first['batch'], 'image')} at a time, "
    title += f"{counted(first['threads'], 'thread')}, {first['weights']} weights"
    alt = f"Milliseconds a batch of {title}; the fastest is {best['label']}, {best['latency_ms']:.1f} ms; from {path}."
    name = slug("-".join([path, *(str(first[key]) for key in ("model", "batch", "threads", "weights"))]))
    return Picture(name, title, alt, charts.latency(data), PRECISIONS, "", str(first["model"]))


def _row(material: Material, path: str, row: dict[str, Any]) -> Row:
    cells = (
        *(Cell(MODELS.get(row["model"], row["model"])), Cell(_engine(row["engine"]))),
        *(Cell(str(row["network"])), Cell(str(row["precision"]))),
        Cell(str(row["batch"]), row["batch"]),
        Cell(str(row["threads"]), row["threads"]),
        *(Cell(str(row.get("instructions", ""))), Cell(str(row["weights"]))),
        Cell(f"{row['latency_ms']:,.2f}", row["latency_ms"]),
        number_cell(row["executed_parameters"], ""),
        number_cell(row["kept_parameters"], ""),
        Cell(path.removeprefix("measurements/")),
    )
    return Row(sourced(cells, material.bench_sources(path, row["index"])), "", str(row["model"]))


def _engine(name: object) -> str:
    return ENGINES.get(str(name), str(name))
