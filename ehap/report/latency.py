"""Latency of dense and pruned networks, in FP32 and INT8, as the run and benchmarks measured it."""

from typing import Any

import pandas

from ehap.report.blocks import Block, Cell, Missing, Picture, Row, Section, Table
from ehap.report.cells import narrow, network_cells, number_cell, parts, rows_of, sourced
from ehap.report.charts import embedded
from ehap.report.material import Material
from ehap.report.tiles import ALIGNED, TIMED
from ehap.results.figures.latency import PRECISIONS, bars_of, engine_title, latency
from ehap.results.format import cell_name, counted, model_title
from ehap.runtime.device import slug
from ehap.settings.names import DENSE

BASE, IN_TURNS = "dense_FP32", "in turns in ONNX Runtime"
ONE_PICTURE = ["dataset", "model", "device", "instructions", "exact_sums", "batch", "threads"]
OWN = (
    *("dataset", "model", "network", "#images", "#threads", "instruction sets", "exact sums"),
    *("#dense FP32", "#dense INT8", "#pruned FP32", "#pruned INT8", "#× dense FP32", "#× dense INT8"),
    *("slower than", "#n", "device"),
)
COLUMNS = (
    *("model", "engine", "network", "precision", "#images", "#threads", "instruction sets", "exact sums", "weights"),
    *("#milliseconds", "#parameters executed", "#parameters kept", "file"),
)


def latency_section(material: Material) -> Section:
    """Return the latency that was measured on this device, dense INT8 among it."""
    lead = (
        "Medians of interleaved rounds. “Plain sums”: a pruned network padded with zeros, so that its residual sums "
        "need no index operations. “Aligned”: with widths padded for the engine, as deployed. ONNX Runtime adds 8-bit "
        "products exactly in a plain session. Where the processor needs it, a session’s option does so; it takes "
        "longer."
    )
    models = {str(model) for model in material.values["model"] if model} or set(material.models)
    blocks = _own(material)
    rows: list[Row] = []
    for path, bench in material.bench("bench_latency").items():
        mine = bench[bench["model"].isin(models)]
        blocks += [_picture(path, part) for part in parts(mine, ["model", "batch", "threads", "weights"])]
        rows += [_row(material, path, row) for row in rows_of(mine.reset_index())]
    if rows:
        table = Table("latencies", "Benchmarks of latency", COLUMNS, rows, folded=True)
        blocks.append(narrow(table, always=("instruction sets",)))
    elif not blocks:
        named = " ".join(sorted(models)) or "resnet56"
        text = "No latency has been measured on this device for a model of this run."
        blocks.append(Missing(text, f'make bench-latency ARGS="--models {named} --name bench_latency_{slug(named)}"'))
    return Section("latency", "Latency", lead, blocks)


def _own(material: Material) -> list[Block]:
    """Return the run's own timings: a table, and for each processor a picture of its networks."""
    frame = material.frames.get("timed")
    if frame is None or frame.empty:
        return []
    table = Table(
        "timed",
        "Networks of this run; ×: pruned INT8 is so many times as fast",
        OWN,
        [_own_row(material, row) for row in rows_of(frame)],
    )
    return [*(_own_picture(part) for part in parts(frame, ONE_PICTURE)), narrow(table)]


def _own_picture(part: pandas.DataFrame) -> Picture:
    """Return the bars of the dense network and of all networks made from it, relative to the dense one of each job.

    Only networks that took turns in one job can be compared in milliseconds.
    """
    first = part.iloc[0]
    bars = [("dense", precision, (part[f"dense_{precision}"] / part[BASE]).mean()) for precision in PRECISIONS]
    for row in rows_of(part):
        name = f"{row['method']}, {row['scheme']}"
        bars += [(name, precision, row[f"pruned_{precision}"] / row[BASE]) for precision in PRECISIONS]
    data = pandas.DataFrame(bars, columns=["network", "precision", "share"])
    data = data.assign(label=data["network"] + ", " + data["precision"], time=100 * data["share"], said=IN_TURNS)
    best = data.sort_values("time").iloc[0]
    title = f"{cell_name(first['dataset'], first['model'])}, {counted(first['batch'], 'image')} at a time, "
    title += f"{counted(first['threads'], 'thread')}" + (
        f", on {first['instructions']}" if first["instructions"] else ""
    )
    alt = (
        f"Time of {title}, in % of the time of dense FP32 in the same job, {IN_TURNS}; means over seeds. "
        f"The shortest is {best['label']}, {best['time']:.0f} %."
    )
    name = slug("-".join(["timed", *map(str, first[ONE_PICTURE])]))
    chart = embedded(latency(data[["label", "precision", "time", "said"]], "time, % of dense FP32 in the same job"))
    return Picture(name, title, alt, chart, PRECISIONS, str(first["dataset"]), str(first["model"]))


def _own_row(material: Material, row: dict[str, Any]) -> Row:
    where = {key: str(row[key]) for key in ("dataset", "model", "method", "scheme", "device", "instructions")}
    cells = (
        *network_cells(where["dataset"], where["model"]),
        Cell(f"{where['method']}, {where['scheme']}"),
        *(Cell(str(row[key]), row[key]) for key in ("batch", "threads")),
        Cell(where["instructions"]),
        Cell(str(row["exact_sums"])),
        *(number_cell(row[name], "ms", row[f"{name}_std"]) for name in TIMED.values()),
        *(Cell(f"{row[f'over_{name}']:.2f}", row[f"over_{name}"]) for name in ("dense_FP32", "dense_INT8")),
        Cell(row["slower_than"], None, (), "below" if row["slower_than"] else ""),
        Cell(str(row["n"]), row["n"]),
        Cell(where["device"]),
    )
    sources = material.sources(stage="latency", **where)
    return Row(sourced(cells, sources), where["dataset"], where["model"], where["method"])


def _picture(path: str, part: pandas.DataFrame) -> Picture:
    """Return the bars of one model, number of images and of threads."""
    first = part.iloc[0]
    data = bars_of(part.sort_values(["engine", "network", "precision"]))
    best = data.sort_values("time").iloc[0]
    kept = part.drop_duplicates("network").set_index("network")["kept_parameters"]
    pruned = f"pruned to {100 * kept[ALIGNED] / kept[DENSE]:.0f} %, " if {ALIGNED, DENSE} <= set(kept.index) else ""
    title = f"{model_title(first['model'])}, {pruned}{counted(first['batch'], 'image')} at a time, "
    title += f"{counted(first['threads'], 'thread')}, {first['weights']} weights"
    title += f", on {first['instructions']}" if first.get("instructions") else ", instruction sets not recorded"
    alt = f"Milliseconds a batch of {title}; the fastest is {best['label']}, {best['time']:.1f} ms; from {path}."
    name = slug("-".join([path, *(str(first[key]) for key in ("model", "batch", "threads", "weights"))]))
    return Picture(name, title, alt, embedded(latency(data)), PRECISIONS, "", str(first["model"]))


def _row(material: Material, path: str, row: dict[str, Any]) -> Row:
    cells = (
        *(Cell(model_title(row["model"])), Cell(engine_title(row["engine"]))),
        *(Cell(str(row["network"])), Cell(str(row["precision"]))),
        Cell(str(row["batch"]), row["batch"]),
        Cell(str(row["threads"]), row["threads"]),
        *(Cell(str(row.get(name, ""))) for name in ("instructions", "exact_sums", "weights")),
        Cell(f"{row['latency_ms']:,.2f}", row["latency_ms"]),
        number_cell(row["executed_parameters"], ""),
        number_cell(row["kept_parameters"], ""),
        Cell(path.removeprefix("measurements/")),
    )
    return Row(sourced(cells, material.bench_sources(path, row["index"])), "", str(row["model"]))
