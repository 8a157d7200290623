"""The other sections: every network, traces, repair, shapes, curves, integers, latency, records."""

from collections.abc import Sequence
from math import isnan, nan
from typing import Any

import pandas

from ehap.report import charts
from ehap.report.blocks import Block, Cell, Missing, Picture, Row, Section, Table
from ehap.report.material import Material
from ehap.report.networks import Network, dense_of
from ehap.report.text import DATASET_NAMES, MODEL_NAMES, cell_name, duration, family, number
from ehap.settings.run import DENSE

BENCH_SAMPLES = 300
STAGES = {"pretrain": "Training of the dense network", "finetune": "Fine-tuning", "qat": "Quantization-aware training"}
PRECISIONS = {"FP32": 5, "INT8": 1}
REPAIR = {
    "pruned_accuracy": "as pruned",
    "recalibrated_accuracy": "BatchNorm recalibrated",
    "reconstructed_accuracy": "reconstructed",
    "distilled_only_accuracy": "distilled only",
    "distilled_accuracy": "reconstructed and distilled",
}


def colours_of(material: Material) -> dict[str, int]:
    """Return method family to the number of its colour; the dense network first."""
    named = [family(str(method)) for method in material.values["method"].unique() if method and method != DENSE]
    return {name: index for index, name in enumerate(dict.fromkeys([DENSE, *named]))}


def networks_section(material: Material, networks: Sequence[Network]) -> Section:
    """Return the table of all networks, with their picture."""
    lead = (
        "One row a network: the mean over seeds of the last epoch's accuracy, ± its standard deviation, on all test "
        "images. Click a number to see the records behind it."
    )
    rows = [_network_row(network, dense_of(networks, network)) for network in networks]
    columns = (
        *("dataset", "model", "method", "#accuracy", "#against dense", "#parameters kept", "#FLOPs kept", "#file"),
        *("#INT8 accuracy", "#INT8 file", "#n", "device"),
    )
    table = Table("networks", "Accuracy and size", columns, rows)
    blocks = [table, *pictures_of_size(material, networks)] if rows else [_nothing(material, "evaluate")]
    return Section("networks", "All networks", lead, blocks)


def _network_row(network: Network, dense: Network) -> Row:
    change = network.accuracy - dense.accuracy
    shares = [100 * network.parameters / dense.parameters, 100 * network.flops / dense.flops]
    cells = (
        Cell(DATASET_NAMES.get(network.dataset, network.dataset)),
        Cell(MODEL_NAMES.get(network.model, network.model)),
        Cell(network.method + (" (repaired)" if network.repaired else "")),
        _number(network.accuracy, "percent", network.spread, network.sources),
        Cell("") if network.method == DENSE else _number(change, "percentage points", sign=True),
        *(_number(share, "percent") for share in shares),
        _number(network.file_size, "bytes", sources=network.sources),
        _number(network.int8_accuracy, "percent", network.int8_spread, network.int8_sources),
        _number(network.int8_file_size, "bytes", sources=network.int8_sources),
        Cell(str(network.n), network.n),
        Cell(network.device),
    )
    return Row(cells, network.dataset, network.model, network.method)


def _number(value: float, unit: str, spread: float = nan, sources: tuple[int, ...] = (), sign: bool = False) -> Cell:
    if isnan(value):
        return Cell("", -1e300)
    return Cell(number(value, unit, spread, sign), value, sources)


def pictures_of_size(material: Material, networks: Sequence[Network]) -> list[Picture]:
    """Return accuracy against size, a picture for each dataset and model."""
    colours = colours_of(material)
    pictures = []
    for dataset, model in dict.fromkeys((network.dataset, network.model) for network in networks):
        mine = [network for network in networks if (network.dataset, network.model) == (dataset, model)]
        if len(mine) < 2:  # noqa: PLR2004  # one point is no picture
            continue
        by_file = sum(not isnan(network.file_size) for network in mine) >= len(mine) / 2
        frame = pandas.DataFrame([point for network in mine for point in _points(network, by_file)])
        frame = frame.dropna(subset=["size", "accuracy"])
        title = "size of the file, KB" if by_file else "parameters, thousands"
        best = frame.sort_values("accuracy").iloc[-1]
        alt = (
            f"Accuracy against {title}, for {len(frame)} networks of {cell_name(dataset, model)}: from "
            f"{frame['size'].min():,.0f} to {frame['size'].max():,.0f}, {frame['accuracy'].min():.1f} to "
            f"{frame['accuracy'].max():.1f} %; the best is {best['label']}."
        )
        key = {name: colours[name] for name in dict.fromkeys(frame["family"])}
        spec = charts.accuracy_by_size(frame, key, title)
        what = f"Accuracy against size, {cell_name(dataset, model)}"
        pictures.append(Picture(f"size-{dataset}-{model}", what, alt, spec, key, dataset, model, wide=True))
    return pictures


def _points(network: Network, by_file: bool) -> list[dict[str, object]]:
    kind = {"method": network.method, "family": family(network.method)}
    size = network.file_size if by_file else network.parameters
    state = "dense" if network.method == DENSE else "pruned"
    spread = 0.0 if isnan(network.spread) else network.spread
    first = {"size": size / 1e3, "accuracy": network.accuracy, "spread": spread, "label": network.method, "order": 0}
    points = [{**kind, "state": state, **first}]
    if by_file and not isnan(network.int8_accuracy):
        spread = 0.0 if isnan(network.int8_spread) else network.int8_spread
        label = f"{network.method}, {network.scheme}"
        second = {"size": network.int8_file_size / 1e3, "accuracy": network.int8_accuracy, "spread": spread}
        points.append({**kind, "state": "quantized", **second, "label": label, "order": 1})
    return points


def traces_section(material: Material) -> Section:
    """Return what the traces cost, and, from benchmarks, what they are worth."""
    lead = (
        "What it takes to get every channel's Hessian trace, and how far the ranking is that of the exact traces: the "
        "overlap (Jaccard) of the channels kept at 10 % of the parameters, and Spearman's ρ of all channels."
    )
    blocks: list[Block] = []
    benched: list[Row] = []
    for path, bench in material.bench("bench_trace").items():
        judged = bench.dropna(subset=["overlap"])
        if len(judged):
            blocks.append(_trace_picture(path, judged))
            benched += [_bench_row(path, row) for row in judged.sort_values("seconds").to_dict("records")]
    if not blocks:
        text = "How good the estimates are has not been measured on this device."
        blocks.append(Missing(text, 'make bench-trace ARGS="--checkpoint … --data …"'))
    frame = material.frames["trace_cost"]
    rows = [_trace_row(material, part) for part in _by(frame, ["dataset", "model", "curvature", "device"])]
    columns = ("dataset", "model", "curvature", "#samples", "#images", "#seconds", "#peak memory", "#n", "device")
    none = _nothing(material, "trace", "This run computes no traces.")
    blocks.append(Table("traces", "Traces of this run", columns, rows) if rows else none)
    if benched:
        columns = (
            *("estimator", "model", "#classes", "#Hessian batch", "#samples judged", "#seconds for them"),
            *("#seconds for 300", "#peak memory", "#overlap", "#Spearman", "file"),
        )
        blocks.append(Table("fidelity", "Benchmarks of estimators", columns, benched, folded=True))
    return Section("traces", "Traces: cost and fidelity", lead, blocks)


def _judged_seconds(seconds: float, samples: float) -> float:
    """Return the cost of the samples that were judged; the benchmark gives that of 300, or of exact traces."""
    return seconds * samples / BENCH_SAMPLES if samples else seconds


def _trace_picture(path: str, judged: pandas.DataFrame) -> Picture:
    first = judged.iloc[0]
    points = pandas.DataFrame(
        {
            "estimator": judged["contender"].str.replace(r", \d+ samples$", "", regex=True),
            "seconds": map(_judged_seconds, judged["seconds"], judged["samples_run"]),
            "overlap": judged["overlap"],
            "spearman": judged["spearman"],
            "samples": [f"{int(count)} samples" if count else "exact" for count in judged["samples_run"]],
        }
    )
    key = {name: index + 1 for index, name in enumerate(dict.fromkeys(points["estimator"]))}
    exact = points[points["samples"] == "exact"]["seconds"].max()
    best = points[points["samples"] != "exact"].sort_values("overlap").iloc[-1]
    alt = (
        f"Share of the kept channels that each estimate gets right against its seconds: exact traces take {exact:,.0f} s, "
        f"the best Hutchinson estimate, {best['estimator']} with {best['samples']}, {best['seconds']:,.0f} s for "
        f"{best['overlap']:.2f}. From {path}."
    )
    title = f"{MODEL_NAMES.get(first['model'], first['model'])}, {int(first['classes'])} classes, {int(first['batch'])} images"
    name = path.rsplit("/", 1)[-1].removesuffix(".csv")
    return Picture(name, title, alt, charts.traces(points, key), key, "", str(first["model"]))


def _bench_row(path: str, row: dict[str, Any]) -> Row:
    samples = int(row["samples_run"])
    cells = (
        Cell(str(row["contender"])),
        Cell(MODEL_NAMES.get(row["model"], row["model"])),
        Cell(str(row["classes"]), row["classes"]),
        Cell(str(row["batch"]), row["batch"]),
        Cell(str(samples) if samples else "exact", samples),
        _number(_judged_seconds(row["seconds"], samples), "s"),
        _number(row["seconds"], "s") if samples else Cell("", -1),
        _number(row["peak_memory_mb"] * 1e6, "memory"),
        Cell(f"{row['overlap']:.3f}", row["overlap"]),
        Cell(f"{row['spearman']:.3f}", row["spearman"]),
        Cell(path),
    )
    return Row(cells, "", str(row["model"]))


def _trace_row(material: Material, part: pandas.DataFrame) -> Row:
    first = part.iloc[0]
    dataset, model, curvature = (str(first[key]) for key in ("dataset", "model", "curvature"))
    means = part.set_index("quantity")["mean"]
    sources = material.sources(stage="trace", dataset=dataset, model=model, curvature=curvature, device=first["device"])
    seconds = part[part["quantity"] == "trace_time"].iloc[0]
    cells = (
        Cell(DATASET_NAMES.get(dataset, dataset)),
        Cell(MODEL_NAMES.get(model, model)),
        Cell(curvature),
        Cell(f"{means['samples']:.0f}" if means["samples"] else "exact", means["samples"]),
        Cell(f"{means['hessian_batch']:.0f}", means["hessian_batch"]),
        _number(seconds["mean"], "s", seconds["std"], sources),
        _number(means["peak_memory"], "memory", sources=sources),
        Cell(str(int(seconds["n"])), int(seconds["n"])),
        Cell(str(first["device"])),
    )
    return Row(cells, dataset, model)


def repair_section(material: Material, networks: Sequence[Network]) -> Section:
    """Return what pruned networks are worth without training on: by size and by the number of images."""
    lead = (
        "A pruned network brought near to the dense one on some images without labels: every layer fitted by least "
        "squares, then some hundred steps towards the dense network's answers. The dashed line is the dense network."
    )
    frame = material.frames.get("repaired")
    if frame is None or frame.empty:
        text = "This run repairs no network without training."
        missing = Missing(text, "snakemake --configfile config/training_free.yaml")
        return Section("repair", "Pruned without training", lead, [missing])
    pictures = [*_repair_by_size(frame, networks), *_repair_by_images(frame, networks)]
    rows = [_repair_row(material, row) for row in frame.to_dict("records")]
    columns = (
        *("dataset", "model", "method", "#images", "#steps", "#parameters kept", "#FLOPs kept"),
        *(f"#{label}" for label in REPAIR.values()),
        *("#against dense", "#seconds", "#n", "device"),
    )
    table = Table("repaired", "Repaired networks, accuracy at each step", columns, rows)
    return Section("repair", "Pruned without training", lead, [*pictures, table])


def _repair_by_size(frame: pandas.DataFrame, networks: Sequence[Network]) -> list[Picture]:
    usual = frame[frame["images"] == frame["images"].mode().max()]
    distilled = usual["steps"][usual["steps"] > 0].mode()
    usual = usual[usual["steps"].isin([0, distilled.max() if len(distilled) else 0])]
    return [
        _repair_picture(part, networks, "compression_ratio", "parameters kept, %", f"by {part.iloc[0]['ranking']}")
        for part in _by(usual, ["dataset", "model", "ranking", "device"])
        if part["compression_ratio"].round().nunique() > 1
    ]


def _repair_by_images(frame: pandas.DataFrame, networks: Sequence[Network]) -> list[Picture]:
    counts = frame.assign(size=frame["compression_ratio"].round())
    distilled = counts["steps"][counts["steps"] > 0].mode()
    counts = counts[counts["steps"].isin([0, distilled.max() if len(distilled) else 0])]
    return [
        _repair_picture(
            part, networks, "images", "images without labels", f"{part.iloc[0]['size']:.0f} % of the parameters"
        )
        for part in _by(counts, ["dataset", "model", "ranking", "size", "device"])
        if part["images"].nunique() > 1
    ]


def _repair_picture(part: pandas.DataFrame, networks: Sequence[Network], size: str, label: str, what: str) -> Picture:
    first = part.iloc[0]
    dataset, model = str(first["dataset"]), str(first["model"])
    dense = dense_of(networks, Network(dataset=dataset, model=model, method="", device=str(first["device"])))
    points = [
        {"method": row["method"], "step": said, "size": row[size], "accuracy": row[step], "spread": row[f"{step}_std"]}
        for row in part.to_dict("records")
        for step, said in REPAIR.items()
    ]
    data = pandas.DataFrame(points).dropna(subset=["accuracy"]).fillna({"spread": 0.0})
    last = data[data["accuracy"] == data["accuracy"].max()].iloc[0]
    alt = (
        f"Test accuracy at each step of the repair against {label}, {cell_name(dataset, model)}, {what}: at most "
        f"{last['accuracy']:.1f} %, {last['step']}."
    )
    key = {step: index for index, step in enumerate(REPAIR.values()) if (data["step"] == step).any()}
    spec = charts.steps_of_repair(data, key, label, dense.accuracy)
    name = f"repair-{size}-{dataset}-{model}-{first['ranking']}-{what}"
    title = f"{cell_name(dataset, model)}, {what}"
    return Picture(
        "".join(letter if letter.isalnum() else "-" for letter in name), title, alt, spec, key, dataset, model
    )


def _repair_row(material: Material, row: dict[str, object]) -> Row:
    dataset, model, method, device = (str(row[key]) for key in ("dataset", "model", "method", "device"))
    heads = material.heads
    mine = tuple(name for name in heads["method"].unique() if name == method or str(name).startswith(f"{method}-draw"))
    sources = material.sources(stage="reconstruct", dataset=dataset, model=model, method=mine, device=device)
    before = material.sources(stage="assess", dataset=dataset, model=model, method=mine, device=device)
    of = {name: float(row[name]) for name in row if isinstance(row[name], (int, float))}  # type: ignore[arg-type]
    cells = (
        Cell(DATASET_NAMES.get(dataset, dataset)),
        Cell(MODEL_NAMES.get(model, model)),
        Cell(method),
        Cell(f"{of['images']:,.0f}", of["images"]),
        Cell(f"{of['steps']:.0f}", of["steps"]),
        _number(of["compression_ratio"], "percent"),
        _number(of["flops_ratio"], "percent"),
        *(
            _number(of[step], "percent", of[f"{step}_std"], before if step.startswith(("pruned", "recal")) else sources)
            for step in REPAIR
        ),
        _number(of["change"], "percentage points", of["change_std"], sources, sign=True),
        _number(of["seconds"], "s", sources=sources),
        Cell(f"{of['n']:.0f}", of["n"]),
        Cell(device),
    )
    return Row(cells, dataset, model, method)


def shapes_section(material: Material) -> Section:
    """Return every pruned network as a drawing: the channels that each layer keeps."""
    lead = (
        "Each bar is a layer, its height the channels: the pale part all that there were, the coloured part what stays. "
        "Sums of residual branches carry the union of what both sides keep."
    )
    colours = colours_of(material)
    blocks: list[Block] = []
    for dataset, model in dict.fromkeys((plan.dataset, plan.model) for plan in material.plans):
        mine = [plan for plan in material.plans if (plan.dataset, plan.model) == (dataset, model)]
        seed = min(plan.seed for plan in mine)
        plans = {plan.method: plan for plan in mine if plan.seed == seed}
        plans = {method: plan for method, plan in plans.items() if not _another_draw(method, plans)}
        rows = [
            {"method": method, "family": family(method), "layer": layer, "position": index}
            | {"width": plan.widths[layer], "kept": kept}
            for method, plan in plans.items()
            for index, (layer, kept) in enumerate(plan.kept.items())
        ]
        kept = {method: sum(plan.kept.values()) / sum(plan.widths.values()) for method, plan in plans.items()}
        said = ", ".join(f"{method} {100 * share:.0f} %" for method, share in list(kept.items())[:8])
        alt = f"Channels kept of each layer of {cell_name(dataset, model)}, seed {seed}; of all channels: {said}."
        frame = pandas.DataFrame(rows)
        present = {name: colours[name] for name in dict.fromkeys(frame["family"])}
        title = f"Channels kept, {cell_name(dataset, model)}, seed {seed}"
        spec = charts.kept_channels(frame, present)
        blocks.append(Picture(f"shapes-{dataset}-{model}", title, alt, spec, present, dataset, model, wide=True))
    return Section("shapes", "Kept channels", lead, blocks or [_nothing(material, "prune")])


def _another_draw(method: str, plans: dict[str, object]) -> bool:
    """Say whether a method's plan is that of another one, of which only the images differ."""
    stem, draw, number_of_draw = method.rpartition("-draw")
    return bool(draw) and number_of_draw != "0" and f"{stem}-draw0" in plans


def curves_section(material: Material) -> Section:
    """Return the learning curves: a picture for each stage of each dataset and model."""
    lead = "Accuracy over epochs: solid on the test images, dotted in training. One line a method and seed."
    colours = colours_of(material)
    histories = material.histories
    blocks: list[Block] = []
    for dataset, model in dict.fromkeys(histories[["dataset", "model"]].itertuples(index=False, name=None)):
        for stage, title in STAGES.items():
            mine = histories[(histories[["dataset", "model", "stage"]] == [dataset, model, stage]).all(axis=1)]
            if mine.empty:
                continue
            long = _long(mine)
            ends = mine.groupby(["method", "scheme", "seed"])["test_accuracy"].last()
            between = f"at {ends.max():.1f} %" if len(ends) == 1 else f"between {ends.min():.1f} and {ends.max():.1f} %"
            after = f"after {int(mine['epoch'].max())} epoch(s)"
            alt = f"{title} of {cell_name(dataset, model)}: test accuracy ends {between}, {after}."
            key = {name: colours[name] for name in dict.fromkeys(long["family"])}
            spec = charts.learning_curves(long, key)
            what = f"{title}, {cell_name(dataset, model)}"
            blocks.append(Picture(f"curves-{stage}-{dataset}-{model}", what, alt, spec, key, dataset, model))
    return Section("curves", "Learning curves", lead, blocks or [_nothing(material, "pretrain")])


def _long(history: pandas.DataFrame) -> pandas.DataFrame:
    """Return one row a point of a curve."""
    parts = []
    for (method, scheme, seed), part in history.groupby(["method", "scheme", "seed"], sort=False):
        label = " ".join(filter(None, [str(method) or DENSE, str(scheme), f"seed {seed}"]))
        few = charts.thinned(part)
        kind = {"method": str(method) or DENSE, "family": family(str(method)) or DENSE, "epoch": few["epoch"]}
        parts += [
            pandas.DataFrame({**kind, "label": label, "set": name, "accuracy": few[f"{name}_accuracy"].round(3)})
            for name in ("test", "train")
        ]
    return pandas.concat(parts, ignore_index=True).dropna(subset=["accuracy"])


def integers_section(material: Material) -> Section:
    """Return the audit of the quantized networks as ONNX Runtime executes them."""
    lead = (
        "Each quantized network as an ONNX file, after the engine's own optimisation, over all test images. A network with "
        "one convolution, sum, pooling or linear layer in floating point is refused, so zero is what a record says."
    )
    frame = material.frames.get("deployed")
    if frame is None or frame.empty:
        missing = _nothing(material, "deploy", "This run writes no files for an engine; a block deploy does.")
        return Section("integers", "Integers that run", lead, [missing])
    rows = []
    for row in frame.to_dict("records"):
        where = {key: str(row[key]) for key in ("dataset", "model", "method", "scheme", "device")}
        sources = material.sources(stage="deploy", **where)
        cells = (
            Cell(DATASET_NAMES.get(where["dataset"], where["dataset"])),
            Cell(MODEL_NAMES.get(where["model"], where["model"])),
            Cell(f"{where['method']}, {where['scheme']}"),
            _number(row["simulated_accuracy"], "percent", row["simulated_accuracy_std"], sources),
            _number(row["deployed_accuracy"], "percent", row["deployed_accuracy_std"], sources),
            _number(row["other_answers"], "", sources=sources),
            _number(row["integer_operators"], "", sources=sources),
            Cell("0", 0),
            _number(row["packed_size"], "bytes", sources=sources),
            _number(row["onnx_size"], "bytes", sources=sources),
            Cell(f"{row['bytes_per_parameter']:.2f}", row["bytes_per_parameter"]),
            Cell(str(int(row["n"])), int(row["n"])),
        )
        rows.append(Row(cells, where["dataset"], where["model"], where["method"]))
    columns = (
        *("dataset", "model", "network", "#simulated", "#in ONNX Runtime", "#other answers", "#integer operators"),
        *("#float operators", "#packed file", "#ONNX file", "#bytes a parameter", "#n"),
    )
    note = "The ONNX file holds plain sums and widths padded for the engine; the packed one the weights that there are."
    return Section("integers", "Integers that run", lead, [Table("integers", "Audit", columns, rows, note)])


def latency_section(material: Material) -> Section:
    """Return the latency that was measured on this device, dense INT8 among it."""
    lead = (
        "Medians of interleaved rounds. “Plain sums” is a pruned network laid into one without scattered residual sums, "
        "“aligned” with widths padded for the engine, as deployed."
    )
    models = {str(model) for model in material.values["model"] if model} or set(material.models)
    blocks: list[Block] = []
    for path, bench in material.bench("bench_latency").items():
        for part in _by(bench[bench["model"].isin(models)], ["model", "batch"]):
            first = part.iloc[0]
            ordered = part.sort_values(["engine", "network", "precision"])
            label = ordered["engine"] + ": " + ordered["network"] + ", " + ordered["precision"]
            said = [f"{size:,.0f} parameters executed" for size in ordered["executed_parameters"]]
            data = ordered.assign(label=label, said=said)[["label", "precision", "latency_ms", "said"]]
            best = data.sort_values("latency_ms").iloc[0]
            title = f"{first['model']}, {int(first['batch'])} image{'' if first['batch'] == 1 else 's'} at a time"
            alt = f"Milliseconds a batch of {title}; the fastest is {best['label']}, {best['latency_ms']:.1f} ms; from {path}."
            name = f"{path.rsplit('/', 1)[-1].removesuffix('.csv')}-{first['model']}-{first['batch']}"
            blocks.append(Picture(name, title, alt, charts.latency(data), PRECISIONS, "", str(first["model"])))
    if not blocks:
        named = " ".join(sorted(models)) or "resnet56"
        text = "No latency has been measured on this device for a model of this run."
        blocks.append(Missing(text, f'make bench-latency ARGS="--models {named}"'))
    return Section("latency", "Latency", lead, blocks)


def records_section(material: Material) -> Section:
    """Return every record, to be searched and opened."""
    rows = []
    for index, (path, record) in enumerate(material.records):
        said = [f"{record.get(key, '')}" for key in ("stage", "dataset", "model", "method", "scheme", "curvature")]
        seconds = float(record.get("duration_s", nan))
        cells = (
            *(Cell(text) for text in said),
            Cell(str(record.get("seed", "")), record.get("seed", -1)),
            Cell("" if isnan(seconds) else duration(seconds), 0.0 if isnan(seconds) else seconds),
            Cell(str(record.get("device", ""))),
            Cell(path, path, (index,)),
        )
        rows.append(Row(cells, said[1], said[2], said[3]))
    columns = ("stage", "dataset", "model", "method", "scheme", "curvature", "#seed", "#time", "device", "record")
    lead = (
        "Every number above comes from one of these. Each keeps its values, settings, seed, code digest and versions."
    )
    table = Table("records", f"{len(rows)} records", columns, rows)
    return Section("records", "Records", lead, [table] if rows else [_nothing(material, "prepare")])


def _nothing(material: Material, stage: str, otherwise: str = "This run has no such records.") -> Missing:
    """Say that the records of a stage are missing, with the command that makes the first of them."""
    missing = material.missing.get(stage, ())
    if not missing:
        return Missing(otherwise)
    return Missing(
        f"{len(missing)} record(s) of the stage {stage} are not here yet.", f"{material.config} {missing[0]}"
    )


def _by(frame: pandas.DataFrame, keys: list[str]) -> list[pandas.DataFrame]:
    return [part for _, part in frame.groupby(keys, sort=False)]
