"""Tables as Markdown under the paper's numbering."""

import math
from collections.abc import Collection, Mapping, Sequence

import pandas

from ehap.results.collect import CELL
from ehap.results.format import dataset_title, number
from ehap.results.quantities import quantity_name


def markdown(title: str, frame: pandas.DataFrame, numbering: dict[str, str], notes: list[str]) -> str:
    """Return one Markdown document with a section for each dataset.

    Args:
        title: Subject of the table.
        frame: Long form: a row for each quantity with mean, std, n, unit, device, and the paper's columns.
        numbering: Dataset to the number of the paper's table.
        notes: Sentences below the tables.
    """
    lines = [f"# {title}", ""]
    for dataset, part in frame.groupby("dataset", sort=False):
        heading = f"Table {numbering[str(dataset)]}, " if str(dataset) in numbering else ""
        lines += [f"## {heading}{dataset_title(dataset)}", "", _rows(part), ""]
    return "\n".join(lines + [f"{note}\n" for note in notes])


def _rows(part: pandas.DataFrame) -> str:
    subject = [name for name in CELL[1:] if (part[name] != "").any()]
    shown = part[subject].copy()
    shown["quantity"] = part["quantity"].map(quantity_name)
    units = part["unit"].where(part["quantity"] != "peak_memory", "memory")  # the paper prints memory in GB
    shown["ours, mean ± std"] = [number(*row) for row in zip(part["mean"], units, part["std"], strict=True)]
    shown["n"] = part["n"]
    for column in part.columns:
        if column == "paper" or column.startswith("paper_rtx"):
            shown[column.replace("_", " ")] = [
                number(*row)
                for row in zip(part[column], units, part.get("paper_spread", part[column] * math.nan), strict=True)
            ]
    if "difference" in part and part["difference"].notna().any():
        shown["difference"] = [number(*row, sign=True) for row in zip(part["difference"], part["unit"], strict=True)]
        shown["verdict"] = part["verdict"]
    shown["device"] = part["device"]
    return shown.to_markdown(index=False, disable_numparse=True)


def by_network(
    title: str,
    frame: pandas.DataFrame,
    first: Sequence[str],
    columns: Mapping[str, tuple[str, str]],
    note: str,
    signed: Collection[str] = (),
) -> str:
    """Return a table as Markdown, a section for each dataset and model.

    Args:
        title: Title of the document.
        frame: A row for each network, with dataset, model, n and device.
        first: Columns that are shown unchanged, under their names.
        columns: Column to its label and unit; ``<column>_std`` holds its spread. A column that is empty in a whole
            section is left out.
        note: Text below the tables; empty for none.
        signed: Columns whose numbers show a plus.
    """
    lines = [f"# {title}", ""]
    for (dataset, model), part in frame.groupby(["dataset", "model"], sort=False):
        shown = part[list(first)].copy()
        for name, (label, unit) in columns.items():
            if not part[name].isna().all():
                cells = zip(part[name], part[f"{name}_std"], strict=True)
                shown[label] = [number(value, unit, spread, sign=name in signed) for value, spread in cells]
        shown["n"], shown["device"] = part["n"], part["device"]
        table = shown.to_markdown(index=False, disable_numparse=True)
        lines += [f"## {model}, {dataset_title(dataset)}", "", table, ""]
    return "\n".join([*lines, note, ""] if note else lines)


def comparison_markdown(frame: pandas.DataFrame) -> str:
    """Return the comparison of methods as Markdown, a section for each dataset and model."""
    columns = {
        "pruned_accuracy": ("right after pruning", "percent"),
        "recalibrated_accuracy": ("BatchNorm recalibrated", "percent"),
        "accuracy": ("fine-tuned", "percent"),
        "parameters_kept": ("parameters kept", "percent"),
        "flops_kept": ("FLOPs kept", "percent"),
        "parameters": ("parameters", "parameters"),
        "flops": ("FLOPs", "flop"),
    }
    return by_network("Methods compared", frame, ["method"], columns, "")


def overview_markdown(frame: pandas.DataFrame) -> str:
    """Return the main table: one row a network, dense first."""
    if frame.empty:
        return "No network has been evaluated yet."
    names = [str(name) for name in frame.columns]
    columns = {
        "accuracy": ("accuracy", "percent"),
        **{
            name: (name.replace("accuracy_", "after "), "percent")
            for name in names
            if name.startswith("accuracy_") and not name.endswith("_n")
        },
        "parameters_kept": ("parameters kept", "percent"),
        "flops_kept": ("FLOPs kept", "percent"),
        "file_size": ("file", "bytes"),
        **{
            name: (name.replace("file_size_", "file after "), "bytes")
            for name in names
            if name.startswith("file_size_")
        },
    }
    shown = frame[["dataset", "model", "method"]].copy()
    for name, (label, unit) in columns.items():
        if not name.endswith("_std"):
            spread = frame.get(f"{name}_std", frame[name] * math.nan)
            cells = zip(frame[name], spread if name.startswith("accuracy") else frame[name] * math.nan, strict=True)
            shown[label] = [number(value, unit, deviation) for value, deviation in cells]
            if f"{name}_n" in frame:
                own = zip(shown[label], frame[f"{name}_n"], frame["n"], strict=True)
                shown[label] = [f"{cell} (n = {count})" if cell and count != n else cell for cell, count, n in own]
    shown["n"] = frame["n"]
    if frame["device"].nunique() > 1:
        shown["device"] = frame["device"]
    return str(shown.to_markdown(index=False, disable_numparse=True))
