"""Quantization schemes beside each other: bits, bytes and accuracy."""

from math import isnan

import pandas

from ehap.report.blocks import Block, Cell, Picture, Row, Section, Table
from ehap.report.cells import LAST, narrow, network_cells, nothing, number_cell, parts, rows_of, sourced
from ehap.report.charts import embedded
from ehap.report.material import Material
from ehap.results.figures.schemes import scheme_points, schemes, widths_of
from ehap.results.format import cell_name
from ehap.runtime.device import slug
from ehap.settings.scheme import FLOAT

ALIKE = 1.02  # times the smallest file: schemes of one size are no picture of accuracy against it


def schemes_section(material: Material) -> Section:
    """Return the accuracy and size of each network under each scheme, and a picture where there are several."""
    lead = (
        "Each scheme is compared with the same network before quantization. Schemes of 32 bits train for as many steps "
        "without quantization, to compare with. With 0 epochs nothing was trained."
    )
    frame = material.frames.get("precisions")
    if frame is None or frame.empty:
        return Section(
            "schemes", "Bits and accuracy", lead, [nothing(material, "quantize", "This run quantizes nothing.")]
        )
    rows = [_row(material, row) for row in rows_of(frame)]
    columns = (
        *("dataset", "model", "method", "scheme", "#bits of weights", "#of activations", "#epochs"),
        *("#accuracy", "#change", "#file", "#n", "device"),
    )
    pictures: list[Block] = []
    for part in parts(frame[frame["weight_bits"] < FLOAT], ["dataset", "model", "method", "device"]):
        if part["file_size"].max() > ALIKE * part["file_size"].min():
            pictures.append(_picture(material, part))
    table = narrow(Table("schemes", "Schemes", columns, rows))
    return Section("schemes", "Bits and accuracy", lead, [*pictures, table])


def _row(material: Material, row: dict[str, object]) -> Row:
    where = {key: str(row[key]) for key in ("dataset", "model", "method", "scheme", "device")}
    tested = material.sources(stage="evaluate", **where)
    before = material.sources(stage="evaluate", **{**where, "scheme": ""})
    quantized = material.sources(stage="qat", **where)
    of = {name: float(row[name]) for name in row if isinstance(row[name], (int, float))}  # type: ignore[arg-type]
    cells = (
        *network_cells(where["dataset"], where["model"]),
        Cell(where["method"]),
        Cell(where["scheme"]),
        *(_whole(of[name], quantized) for name in ("weight_bits", "activation_bits", "epochs")),
        number_cell(of["accuracy"], "percent", of["accuracy_std"]),
        number_cell(of["change"], "percentage points", of["change_std"], (*tested, *before), sign=True),
        number_cell(of["file_size"], "bytes"),
        Cell(f"{of['n']:.0f}", of["n"]),
        Cell(where["device"]),
    )
    return Row(sourced(cells, tested), where["dataset"], where["model"], where["method"])


def _whole(value: float, sources: tuple[int, ...]) -> Cell:
    """Return a number that is whole, or a mean of such; nothing for NaN, of an older record."""
    return Cell("", LAST) if isnan(value) else Cell(f"{value:.3g}", value, sources)


def _picture(material: Material, part: pandas.DataFrame) -> Picture:
    first = part.iloc[0]
    dataset, model, method = (str(first[name]) for name in ("dataset", "model", "method"))
    data = scheme_points(part).assign(group=material.families.pooled(method))
    best = data[data["accuracy"] == data["accuracy"].max()].iloc[0]
    title = f"{cell_name(dataset, model)}, {method}, {first['device']}"
    alt = (
        f"Test accuracy against the size of the file for {len(data)} quantization schemes of {title}; the most "
        f"accurate is {best['scheme']}, {best['accuracy']:.1f} % in {best['size']:.0f} KB."
    )
    key = widths_of(data)
    name = slug(f"schemes-{dataset}-{model}-{method}-{first['device']}")
    return Picture(name, title, alt, embedded(schemes(data, key)), key, dataset, model)
