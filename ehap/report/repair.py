"""Networks that were repaired without training, by size and by the number of images."""

from collections.abc import Sequence

import pandas

from ehap.report.blocks import Cell, Missing, Picture, Row, Section, Table
from ehap.report.cells import narrow, network_cells, number_cell, parts, rows_of, sourced
from ehap.report.charts import embedded
from ehap.report.material import SNAKEMAKE, Material
from ehap.report.networks import Network, dense_of
from ehap.results.figures.repair import COLOURS, steps_of_repair
from ehap.results.format import cell_name
from ehap.results.repair import STEPS
from ehap.runtime.device import slug
from ehap.settings.names import DENSE


def repair_section(material: Material, networks: Sequence[Network]) -> Section:
    """Return the accuracy of pruned networks without further training, by size and by the number of images."""
    lead = (
        "A pruned network is repaired on some images without labels: every layer is fitted by least squares, then some "
        "hundred steps of distillation follow, from the dense network. The dashed line is the dense network."
    )
    frame = material.frames.get("repaired")
    if frame is None or frame.empty:
        text = "This run repairs no network without training."
        missing = Missing(text, f"{SNAKEMAKE} --configfile config/short_way.yaml")
        return Section("repair", "Pruned without training", lead, [missing])
    pictures = [
        *_repair_by_size(material, material.frames["repaired_by_size"], networks),
        *_repair_by_images(material, material.frames["repaired_by_images"], networks),
    ]
    rows = [_repair_row(material, row) for row in rows_of(frame)]
    columns = (
        *("dataset", "model", "method", "#images", "#steps", "#parameters kept", "#FLOPs kept"),
        *(f"#{label}" for label in STEPS.values()),
        *("#against dense", "#seconds", "#peak memory", "#n", "device"),
    )
    table = narrow(Table("repaired", "Repaired networks, accuracy at each step", columns, rows))
    return Section("repair", "Pruned without training", lead, [*pictures, table])


def _repair_by_size(material: Material, frame: pandas.DataFrame, networks: Sequence[Network]) -> list[Picture]:
    return [
        _repair_picture(
            material, part, networks, "parameters_kept", "parameters kept, %", f"by {part.iloc[0]['ranking']}"
        )
        for part in parts(frame, ["dataset", "model", "ranking", "device"])
        if part["parameters_kept"].round().nunique() > 1
    ]


def _repair_by_images(material: Material, frame: pandas.DataFrame, networks: Sequence[Network]) -> list[Picture]:
    counts = frame.assign(size=frame["parameters_kept"].round())
    return [
        _repair_picture(
            material,
            part,
            networks,
            "images",
            "images without labels",
            f"{part.iloc[0]['size']:.0f} % of the parameters",
        )
        for part in parts(counts, ["dataset", "model", "ranking", "size", "device"])
        if part["images"].nunique() > 1
    ]


def _repair_picture(
    material: Material, part: pandas.DataFrame, networks: Sequence[Network], size: str, label: str, what: str
) -> Picture:
    first = part.iloc[0]
    dataset, model = str(first["dataset"]), str(first["model"])
    dense = dense_of(networks, Network(dataset=dataset, model=model, method="", device=str(first["device"])))
    points = [
        {"method": row["method"], "step": said, "size": row[size], "accuracy": row[step], "spread": row[f"{step}_std"]}
        for row in rows_of(part)
        for step, said in STEPS.items()
    ]
    for point in points:
        point["group"] = material.families.pooled(str(point["method"]))
    data = pandas.DataFrame(points).dropna(subset=["accuracy"]).fillna({"spread": 0.0})
    last = data[data["accuracy"] == data["accuracy"].max()].iloc[0]
    alt = (
        f"Test accuracy at each step of the repair against {label}, {cell_name(dataset, model)}, {what}: at most "
        f"{last['accuracy']:.1f} %, {last['step']}."
    )
    key = {step: index for step, index in COLOURS.items() if (data["step"] == step).any()}
    spec = embedded(steps_of_repair(data, key, label, dense.accuracy))
    name = f"repair-{size}-{dataset}-{model}-{first['ranking']}-{what}-{first['device']}"
    several = networks and len({network.device for network in networks}) > 1
    title = f"{cell_name(dataset, model)}, {what}" + (f", {first['device']}" if several else "")
    return Picture(slug(name), title, alt, spec, key, dataset, model)


def _repair_row(material: Material, row: dict[str, object]) -> Row:
    dataset, model, method, device = (str(row[key]) for key in ("dataset", "model", "method", "device"))
    heads = material.heads
    mine = tuple(name for name in heads["method"].unique() if material.families.pooled(str(name)) == method)
    sources = material.sources(stage="reconstruct", dataset=dataset, model=model, method=mine, device=device)
    before = material.sources(stage="evaluate_unrecovered", dataset=dataset, model=model, method=mine, device=device)
    planned = material.sources(stage="prune", dataset=dataset, model=model, method=mine)
    dense = material.sources(stage="evaluate", dataset=dataset, model=model, method=DENSE, device=device)
    of = {name: float(row[name]) for name in row if isinstance(row[name], (int, float))}  # type: ignore[arg-type]
    cells = (
        *network_cells(dataset, model),
        Cell(method),
        Cell(f"{of['images']:,.0f}", of["images"]),
        Cell(f"{of['steps']:.0f}", of["steps"]),
        number_cell(of["parameters_kept"], "percent", sources=planned),
        number_cell(of["flops_kept"], "percent", sources=planned),
        *(
            number_cell(
                of[step], "percent", of[f"{step}_std"], before if step.startswith(("pruned", "recal")) else sources
            )
            for step in STEPS
        ),
        number_cell(of["change"], "percentage points", of["change_std"], (*sources, *dense), sign=True),
        number_cell(of["seconds"], "s"),
        number_cell(of["peak_memory"], "memory"),
        Cell(f"{of['n']:.0f}", of["n"]),
        Cell(device),
    )
    return Row(sourced(cells, sources), dataset, model, method)
