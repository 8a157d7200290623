"""Networks as engines execute them: the audit of integers, and latency."""

from ehap.report import charts
from ehap.report.blocks import Block, Cell, Missing, Picture, Row, Section, Table
from ehap.report.cells import nothing, number_cell, parts, rows_of
from ehap.report.material import Material
from ehap.runtime import slug
from ehap.settings.names import DATASETS, MODELS

PRECISIONS = {"FP32": 0, "INT8": 1}


def integers_section(material: Material) -> Section:
    """Return the audit of the quantized networks as engines execute them."""
    lead = (
        "Each quantized network as an ONNX file, as the engine executes it, over all test images. A network with one "
        "convolution, sum, pooling or linear layer in floating point is refused, unless the run declares it. In "
        "Inductor convolutions and linear layers run in integers; sums and pooling read and write integers."
    )
    frame = material.frames.get("deployed")
    if frame is None or frame.empty:
        missing = nothing(material, "deploy", "This run writes no files for an engine; a block deploy does.")
        return Section("integers", "Integers that run", lead, [missing])
    rows = []
    for row in rows_of(frame):
        where = {key: str(row[key]) for key in ("dataset", "model", "method", "scheme", "device")}
        sources = material.sources(stage="deploy", **where)
        cells = (
            Cell(DATASETS.get(where["dataset"], where["dataset"])),
            Cell(MODELS.get(where["model"], where["model"])),
            Cell(f"{where['method']}, {where['scheme']}"),
            number_cell(row["simulated_accuracy"], "percent", row["simulated_accuracy_std"], sources),
            number_cell(row["deployed_accuracy"], "percent", row["deployed_accuracy_std"], sources),
            number_cell(row["other_answers"], "", sources=sources),
            number_cell(row["inductor_accuracy"], "percent", row["inductor_accuracy_std"], sources),
            number_cell(row["inductor_other_answers"], "", sources=sources),
            number_cell(row["integer_operators"], "", sources=sources),
            number_cell(row["float_operators"], "", sources=sources),
            number_cell(row["packed_size"], "bytes", sources=sources),
            number_cell(row["onnx_size"], "bytes", sources=sources),
            Cell(f"{row['bytes_per_parameter']:.2f}", row["bytes_per_parameter"]),
            Cell(str(int(row["n"])), int(row["n"])),
        )
        rows.append(Row(cells, where["dataset"], where["model"], where["method"]))
    columns = (
        *("dataset", "model", "network", "#simulated", "#in ONNX Runtime", "#other answers"),
        *("#in Inductor", "#other answers there", "#integer operators"),
        *("#float operators in ONNX Runtime", "#packed file", "#ONNX file", "#bytes a parameter", "#n"),
    )
    note = "The ONNX file holds plain sums and widths padded for the engine; the packed one the weights that there are."
    return Section("integers", "Integers that run", lead, [Table("integers", "Audit", columns, rows, note)])


def latency_section(material: Material) -> Section:
    """Return the latency that was measured on this device, dense INT8 among it."""
    lead = (
        "Medians of interleaved rounds. “Plain sums” is a pruned network laid into one whose residual sums need no "
        "index operations, “aligned” with widths padded for the engine, as deployed."
    )
    models = {str(model) for model in material.values["model"] if model} or set(material.models)
    blocks: list[Block] = []
    for path, bench in material.bench("bench_latency").items():
        for part in parts(bench[bench["model"].isin(models)], ["model", "batch", "threads", "weights"]):
            first = part.iloc[0]
            ordered = part.sort_values(["engine", "network", "precision"])
            label = ordered["engine"] + ": " + ordered["network"] + ", " + ordered["precision"]
            said = [f"{size:,.0f} parameters executed" for size in ordered["executed_parameters"]]
            data = ordered.assign(label=label, said=said)[["label", "precision", "latency_ms", "said"]]
            best = data.sort_values("latency_ms").iloc[0]
            threads = int(first["threads"])
            title = f"{first['model']}, {int(first['batch'])} image{'' if first['batch'] == 1 else 's'} at a time, "
            title += f"{threads} thread{'' if threads == 1 else 's'}, {first['weights']} weights ({path})"
            fastest = f"{best['label']}, {best['latency_ms']:.1f} ms"
            alt = f"Milliseconds a batch of {title}; the fastest is {fastest}; from {path}."
            name = slug(f"{path}-{first['model']}-{first['batch']}")
            blocks.append(Picture(name, title, alt, charts.latency(data), PRECISIONS, "", str(first["model"])))
    if not blocks:
        named = " ".join(sorted(models)) or "resnet56"
        text = "No latency has been measured on this device for a model of this run."
        blocks.append(Missing(text, f'make bench-latency ARGS="--models {named}"'))
    return Section("latency", "Latency", lead, blocks)
