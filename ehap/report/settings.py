"""The settings of the paper and of the run, side by side (Tables VII to IX)."""

from collections.abc import Iterable

import pandas

from ehap.report.blocks import Block, Cell, Missing, Row, Section, Table
from ehap.report.cells import network_cells
from ehap.report.material import Material
from ehap.report.text import MISSING
from ehap.settings.names import DENSE

SETTINGS = {"VII": "Pretraining", "VIII": "Pruning and fine-tuning", "IX": "Quantization-aware training"}


def settings_section(material: Material) -> Section:
    """Return the settings of the paper and of the run, side by side (Tables VII to IX)."""
    ours = material.frames["settings"]
    tables: list[Block] = []
    for table, title in SETTINGS.items():
        stages = sorted(set(material.printed_settings[material.printed_settings["table"] == table]["stage"]))
        mine = ours[ours["stage"].isin(stages)]
        known = set(material.printed_settings["setting"])
        rows = _setting_rows(material, mine[mine["setting"].isin(known)], table)
        if rows:
            columns = ("stage", "dataset", "model", "setting", "#ours", "#paper", "", "used by")
            tables.append(Table(f"table-{table}", f"Table {table}: {title}", columns, rows))
    if not tables:
        tables.append(Missing("No record of a training is here yet.", material.command()))
    lead = (
        "The settings of the records beside the paper's Tables VII to IX. Click a number of a record to see its other "
        "settings."
    )
    return Section("settings", "Settings", lead, tables)


def _setting_rows(material: Material, mine: pandas.DataFrame, table: str) -> list[Row]:
    """Return a row for each value of a setting, with the methods, schemes or curvatures that have it."""
    rows = []
    for key, part in mine.groupby(["stage", "dataset", "model", "setting"], sort=False):
        stage, dataset, model, setting = map(str, key)
        for value, same in part.groupby(part["value"].map(_written), sort=False):
            paper = same["paper"].dropna()
            printed = _written(paper.iloc[0]) if len(paper) else MISSING
            equal = printed != MISSING and _equal(printed, str(value))
            tone = "" if printed == MISSING else "within" if equal else "below"
            cells = (
                Cell(stage),
                *network_cells(dataset, model),
                Cell(setting.replace("_", " ")),
                Cell(str(value), None, _having(material, same, setting, str(value))),
                Cell(printed, None, _printed(material, [table, stage, model, setting], dataset)),
                Cell({"": "", "within": "the same", "below": "differs"}[tone], None, (), tone),  # type: ignore[arg-type]
                Cell(_users(same[["method", "scheme", "curvature"]].itertuples(index=False, name=None))),
            )
            rows.append(Row(cells, dataset, model))
    return rows


def _having(material: Material, same: pandas.DataFrame, setting: str, value: str) -> tuple[int, ...]:
    """Return the records of all seeds and devices in which a setting has that value."""
    where = {column: tuple(same[column]) for column in ("stage", "dataset", "model", "method", "scheme", "curvature")}
    found = material.sources(**where)
    return tuple(one for one in found if _written(material.records[one][1]["settings"].get(setting)) == value)


def _printed(material: Material, key: list[object], dataset: object) -> tuple[int, ...]:
    """Return the lines of the paper's settings that say it."""
    frame = material.printed_settings
    mine = (frame[["table", "stage", "model", "setting"]] == key).all(axis=1) & frame["dataset"].isin(["", dataset])
    return material.printed_sources(*frame.index[mine], settings=True)


def _users(cells: Iterable[tuple[str, str, str]]) -> str:
    """Return which methods, with which schemes or curvatures, have a setting: those with the same ones together."""
    methods: dict[str, list[str]] = {}
    for method, scheme, curvature in cells:
        with_ = " ".join(filter(None, [scheme, curvature])) if method else ""
        methods.setdefault(method or curvature or DENSE, []).append(with_)
    alike: dict[tuple[str, ...], list[str]] = {}
    for method, several in methods.items():
        alike.setdefault(tuple(dict.fromkeys(filter(None, several))), []).append(method)
    return "; ".join(
        ", ".join(names) + (f" with {', '.join(schemes)}" if schemes else "") for schemes, names in alike.items()
    )


def _written(value: object) -> str:
    """Return a setting as a configuration has it: 300 where a column of numbers makes it 300.0, a dash for none."""
    if value is None:
        return MISSING
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole else str(value)  # type: ignore[call-overload]  # a float


def _equal(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return one == other
