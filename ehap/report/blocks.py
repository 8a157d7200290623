"""The parts of the page: sections of tables, pictures and notes, without their looks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Tone = Literal["", "within", "above", "below", "missing"]


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    text: Visible text. order: Sort key of the column. sources: Numbers of the records behind the cell; a click shows
    them. tone: A verdict, or ``missing`` where there is nothing yet.
    """

    text: str
    order: float | str | None = None
    sources: tuple[int, ...] = ()
    tone: Tone = ""


@dataclass(frozen=True)
class Row:
    """One row of a table; where it names a dataset, model or method, the filters of the page know it."""

    cells: tuple[Cell, ...]
    dataset: str = ""
    model: str = ""
    method: str = ""


@dataclass(frozen=True)
class Table:
    """A table: columns that begin with # hold numbers.

    folded: Closed until somebody opens it.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: Sequence[Row]
    note: str = ""
    folded: bool = False
    kind: Literal["table"] = "table"


@dataclass(frozen=True)
class Picture:
    """A Vega-Lite chart.

    alt: Description in a sentence, for readers who cannot see it. spec: The chart as JSON. key: Name to the number of
    its colour. dataset, model: Its dataset and model, for the filters. wide: Whether it takes the whole width.
    """

    name: str
    title: str
    alt: str
    spec: dict[str, Any]
    key: Mapping[str, int] = field(default_factory=dict)
    dataset: str = ""
    model: str = ""
    wide: bool = False
    kind: Literal["picture"] = "picture"


@dataclass(frozen=True)
class Missing:
    """Something that this run lacks, and the command that makes it."""

    text: str
    command: str = ""
    kind: Literal["missing"] = "missing"


@dataclass(frozen=True)
class Finding:
    """One slip of the published code, and its effect here."""

    title: str
    said: str
    figure: str
    ours: str
    table: Table | None = None
    kind: Literal["finding"] = "finding"


Block = Table | Picture | Missing | Finding


@dataclass(frozen=True)
class Section:
    """A part of the page, reached from its contents."""

    name: str
    title: str
    lead: str
    blocks: Sequence[Block] = field(default_factory=tuple)
