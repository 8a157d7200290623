"""Cells and blocks that many sections have."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import isnan, nan
from typing import Any, cast

import pandas

from ehap.report.blocks import Cell, Missing, Table
from ehap.report.material import Material
from ehap.report.text import number
from ehap.results.format import counted, dataset_title, model_title

MACHINE = ("device", "instruction sets")
LAST = -1e300  # sort key of a cell without a number


def number_cell(
    value: float, unit: str, spread: float = nan, sources: tuple[int, ...] = (), sign: bool = False
) -> Cell:
    """Return a cell with a number; an empty one for NaN. Arguments: as in ``number``, and the records."""
    return Cell("", LAST) if isnan(value) else Cell(number(value, unit, spread, sign), value, sources)


def network_cells(dataset: object, model: object) -> tuple[Cell, Cell]:
    """Return the cells of the columns dataset and model."""
    return Cell(dataset_title(dataset)), Cell(model_title(model))


def sourced(cells: Iterable[Cell], sources: tuple[int, ...]) -> tuple[Cell, ...]:
    """Return the cells; add these records to cells that have a number but no records of their own."""
    return tuple(
        replace(cell, sources=sources) if cell.order is not None and cell.text and not cell.sources else cell
        for cell in cells
    )


def narrow(table: Table, always: Sequence[str] = ()) -> Table:
    """Return a table without empty columns, and without columns of MACHINE that have one value in all rows.

    Args:
        table: Table with columns of any kind.
        always: Columns of MACHINE that stay although all rows agree.
    """
    told = [{row.cells[index].text for row in table.rows} for index in range(len(table.columns))]
    shown = [
        index
        for index, (column, texts) in enumerate(zip(table.columns, told, strict=True))
        if texts - {""} and (column not in MACHINE or column in always or len(texts) > 1)
    ]
    rows = [replace(row, cells=tuple(row.cells[index] for index in shown)) for row in table.rows]
    return replace(table, columns=tuple(table.columns[index] for index in shown), rows=rows)


def nothing(material: Material, stage: str, otherwise: str = "This run has no such records.") -> Missing:
    """Say that the records of a stage are missing, with the command that makes the first of them."""
    missing = material.missing.get(stage, ())
    if not missing:
        return Missing(otherwise)
    said = f"{counted(len(missing), 'record')} of the stage {stage}"
    return Missing(f"{said} {'is' if len(missing) == 1 else 'are'} not here yet.", material.command(missing[0]))


def parts(frame: pandas.DataFrame, keys: list[str]) -> list[pandas.DataFrame]:
    """Return the rows that agree in all keys together, in order."""
    return [part for _, part in frame.groupby(keys, sort=False)]


def rows_of(frame: pandas.DataFrame) -> list[dict[str, Any]]:
    """Return each row as column name to value."""
    return cast("list[dict[str, Any]]", frame.to_dict("records"))
