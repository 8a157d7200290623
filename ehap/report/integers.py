"""Quantized networks as engines execute them: the audit of integers."""

from collections.abc import Mapping
from typing import Any

from ehap.report.blocks import Cell, Row, Section, Table
from ehap.report.cells import narrow, network_cells, nothing, number_cell, rows_of, sourced
from ehap.report.material import Material
from ehap.settings.deploy import FURTHER_ENGINES


def integers_section(material: Material) -> Section:
    """Return the audit of the quantized networks as engines execute them."""
    lead = (
        "Each quantized network as an engine executes it, over all test images. Mismatches: test images whose answer "
        "differs from the simulated one. A network with one convolution, sum, pooling or linear layer in floating "
        "point is refused, unless the run declares it. In Inductor, convolutions and linear layers run in integers; "
        "sums and pooling read and write integers."
    )
    frame = material.frames.get("deployed")
    if frame is None or frame.empty:
        missing = nothing(material, "deploy", "This run exports nothing to an engine; a block deploy does.")
        return Section("integers", "Integers that run", lead, [missing])
    rows = [_row(material, row) for row in rows_of(frame)]
    columns = (
        *("dataset", "model", "network", "instruction sets", "#simulated", "#in ONNX Runtime", "#mismatches"),
        *(column for title in FURTHER_ENGINES.values() for column in (f"#in {title}", "#mismatches there")),
        *("#integer operators", "#float operators in ONNX Runtime"),
        *("#packed file", "#ONNX file", "#bytes a parameter", "#n"),
    )
    note = (
        "The ONNX file has plain sums and widths padded for the engine; the packed file has the pruned weights alone."
    )
    return Section("integers", "Integers that run", lead, [narrow(Table("integers", "Audit", columns, rows, note))])


def _row(material: Material, row: Mapping[str, Any]) -> Row:
    """Return the row of one network."""
    where = {key: str(row[key]) for key in ("dataset", "model", "method", "scheme", "device", "instructions")}
    cells = (
        *network_cells(where["dataset"], where["model"]),
        Cell(f"{where['method']}, {where['scheme']}"),
        Cell(where["instructions"]),
        number_cell(row["simulated_accuracy"], "percent", row["simulated_accuracy_std"]),
        number_cell(row["deployed_accuracy"], "percent", row["deployed_accuracy_std"]),
        number_cell(row["mismatches"], ""),
        *(cell for name in FURTHER_ENGINES for cell in _engine_cells(row, name)),
        number_cell(row["integer_operators"], ""),
        number_cell(row["float_operators"], ""),
        number_cell(row["packed_size"], "bytes"),
        number_cell(row["onnx_size"], "bytes"),
        Cell(f"{row['bytes_per_parameter']:.2f}", row["bytes_per_parameter"]),
        Cell(str(int(row["n"])), int(row["n"])),
    )
    sources = material.sources(stage="deploy", **where)
    return Row(sourced(cells, sources), where["dataset"], where["model"], where["method"])


def _engine_cells(row: Mapping[str, Any], name: str) -> tuple[Cell, Cell]:
    """Return accuracy and mismatches of a further engine."""
    accuracy, mismatches = f"{name}_accuracy", f"{name}_mismatches"
    return number_cell(row[accuracy], "percent", row[f"{accuracy}_std"]), number_cell(row[mismatches], "")
