"""Traces: the cost of an estimator, and the fidelity of its ranking."""

from typing import Any

import pandas

from ehap.report.blocks import Block, Cell, Missing, Picture, Row, Section, Table
from ehap.report.cells import narrow, network_cells, nothing, number_cell, parts, rows_of, sourced
from ehap.report.charts import embedded
from ehap.report.material import Material
from ehap.results.figures.traces import estimators, traces
from ehap.results.format import model_title
from ehap.runtime.device import slug

BENCH_SAMPLES = 300


def traces_section(material: Material) -> Section:
    """Return the cost of the traces, and from benchmarks their fidelity."""
    lead = (
        "The cost of every channel's Hessian trace, and how well the ranking agrees with that of exact traces: the "
        "overlap (Jaccard) of the channels kept at 10 % of the parameters, and Spearman's ρ of all channels. In "
        "benchmarks, “published” is the published code's loop over channels, in FP32 and with samples of equal weight. "
        "“Plain” is the same without that loop, “ours” is Hutchinson as the paper describes it."
    )
    blocks: list[Block] = []
    benched: list[Row] = []
    for path, bench in material.bench("bench_trace").items():
        judged = bench.dropna(subset=["overlap"])
        if len(judged):
            blocks.append(_trace_picture(path, judged))
            benched += [_bench_row(material, path, row) for row in rows_of(judged.sort_values("seconds").reset_index())]
    if not blocks:
        text = "The fidelity of the estimates has not been measured on this device."
        blocks.append(Missing(text, 'make bench-trace ARGS="--checkpoint … --data …"'))
    frame = material.frames["trace_cost"]
    rows = [_trace_row(material, part) for part in parts(frame, ["dataset", "model", "curvature", "device"])]
    columns = ("dataset", "model", "curvature", "#samples", "#images", "#seconds", "#peak memory", "#n", "device")
    none = nothing(material, "trace", "This run computes no traces.")
    blocks.append(narrow(Table("traces", "Traces of this run", columns, rows)) if rows else none)
    if benched:
        judged_columns = (
            *("estimator", "model", "#classes", "#Hessian batch", "#samples judged", "#seconds for them"),
            *("#seconds for 300", "#peak memory", "#overlap", "#Spearman", "file"),
        )
        blocks.append(Table("fidelity", "Benchmarks of estimators", judged_columns, benched, folded=True))
    return Section("traces", "Traces: cost and fidelity", lead, blocks)


def _judged_seconds(seconds: float, samples: float) -> float:
    """Return the cost of the samples that were judged; the benchmark gives that of 300, or of exact traces."""
    return seconds * samples / BENCH_SAMPLES if samples else seconds


def _trace_picture(path: str, judged: pandas.DataFrame) -> Picture:
    first = judged.iloc[0]
    seconds = map(_judged_seconds, judged["seconds"], judged["samples_run"])
    points, key = estimators(judged, pandas.Series(list(seconds), index=judged.index))
    exact = points[points["samples"] == "exact"]["cost"].max()
    best = points[points["samples"] != "exact"].sort_values("overlap").iloc[-1]
    alt = (
        f"Share of the kept channels that each estimate gets right, against its seconds: exact traces take at most "
        f"{exact:,.0f} s, the best Hutchinson estimate, {best['estimator']} with {best['samples']}, "
        f"{best['cost']:,.0f} s for {best['overlap']:.2f}. From {path}."
    )
    model = model_title(first["model"])
    title = f"{model}, {int(first['classes'])} classes, {int(first['batch'])} images"
    name = slug(f"{path}-{title}")
    return Picture(name, title, alt, embedded(traces(points, key)), key, "", str(first["model"]))


def _bench_row(material: Material, path: str, row: dict[str, Any]) -> Row:
    samples = int(row["samples_run"])
    cells = (
        Cell(str(row["contender"])),
        Cell(model_title(row["model"])),
        Cell(str(row["classes"]), row["classes"]),
        Cell(str(row["batch"]), row["batch"]),
        Cell(str(samples) if samples else "exact", samples),
        number_cell(_judged_seconds(row["seconds"], samples), "s"),
        number_cell(row["seconds"], "s") if samples else Cell("", -1),
        number_cell(row["peak_memory_mb"] * 1e6, "memory"),
        Cell(f"{row['overlap']:.3f}", row["overlap"]),
        Cell(f"{row['spearman']:.3f}", row["spearman"]),
        Cell(path.removeprefix("measurements/")),
    )
    return Row(sourced(cells, material.bench_sources(path, row["index"])), "", str(row["model"]))


def _trace_row(material: Material, part: pandas.DataFrame) -> Row:
    first = part.iloc[0]
    dataset, model, curvature = (str(first[key]) for key in ("dataset", "model", "curvature"))
    means = part.set_index("quantity")["mean"]
    sources = material.sources(stage="trace", dataset=dataset, model=model, curvature=curvature, device=first["device"])
    seconds = part[part["quantity"] == "trace_time"].iloc[0]
    cells = (
        *network_cells(dataset, model),
        Cell(curvature),
        Cell(f"{means['samples']:.0f}" if means["samples"] else "exact", means["samples"]),
        Cell(f"{means['hessian_batch']:.0f}", means["hessian_batch"]),
        number_cell(seconds["mean"], "s", seconds["std"]),
        number_cell(means["peak_memory"], "memory"),
        Cell(str(int(seconds["n"])), int(seconds["n"])),
        Cell(str(first["device"])),
    )
    return Row(sourced(cells, sources), dataset, model)
