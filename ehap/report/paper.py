"""The paper's tables beside ours: its printed numbers, ours, the difference, and a verdict."""

from dataclasses import dataclass
from math import isnan, nan
from typing import Any

from ehap.report.blocks import Block, Cell, Missing, Row, Section, Table
from ehap.report.cells import network_cells, rows_of, sourced
from ehap.report.material import Material
from ehap.report.text import number
from ehap.results.quantities import quantity_name
from ehap.results.verdict import verdict
from ehap.settings.names import DENSE


@dataclass(frozen=True)
class Numbered:
    """One table of the paper. frame: The name of ours that it stands in."""

    number: str
    title: str
    frame: str
    dataset: str


TABLES = (
    Numbered("I", "Accuracy before and after pruning, CIFAR-10", "pruned_accuracy", "cifar10"),
    Numbered("II", "Accuracy before and after pruning, CIFAR-100", "pruned_accuracy", "cifar100"),
    Numbered("III", "Cost of the traces on an RTX 2060, CIFAR-100", "trace_cost", "cifar100"),
    Numbered("IV", "Cost of the traces on an RTX 3090, CIFAR-100", "trace_cost", "cifar100"),
    Numbered("V", "Accuracy after quantization, CIFAR-10", "quantized_accuracy", "cifar10"),
    Numbered("VI", "Accuracy after quantization, CIFAR-100", "quantized_accuracy", "cifar100"),
    Numbered("X", "Sizes and FLOPs, CIFAR-10", "sizes", "cifar10"),
    Numbered("XI", "Sizes and FLOPs, CIFAR-100", "sizes", "cifar100"),
)
COLUMNS = ("dataset", "model", "network", "quantity", "#ours", "#n", "#paper", "#difference", "verdict", "device")
OTHER = "other settings"
PROTOCOL = {"accuracy": ("accuracy", "best_accuracy"), "file_size": ("published_size", "file_size")}
"""The paper picks the epoch by its test accuracy, and counts momentum and float32: compare it with both of ours."""


def paper_section(material: Material) -> tuple[Section, int, int]:
    """Return the section, how many of the paper's accuracies ours agree with, and of how many comparable ones."""
    blocks: list[Block] = []
    judged: dict[tuple[str, ...], str] = {}
    for table in TABLES:
        rows, found = _rows(material, table)
        judged |= found
        here = sum(row.cells[4].tone != "missing" for row in rows)
        blocks.append(
            Table(
                f"table-{table.number}",
                f"Table {table.number}: {table.title}" + ("" if here else " — the paper's numbers; none of ours yet"),
                COLUMNS,
                rows,
                _note(table),
                folded=not here,
            )
        )
    if all(isinstance(block, Table) and block.folded for block in blocks):
        meant = material.printed[["dataset", "model"]].isin({"dataset": material.datasets, "model": material.models})
        text = "The paper's tables show ResNet-32, ResNet-56 and WRN-28-8 on CIFAR; this run has none of them."
        missing = Missing("No network of the paper's tables is here yet.", material.command())
        blocks.insert(0, missing if meant.all(axis=1).any() else Missing(text, "make paper"))
    lead = (
        "The paper's printed numbers, ours, and the difference. A difference is within if it is at most the root of "
        "both squared standard deviations. Accuracy is compared twice: at the last epoch, which counts here, and at "
        "the epoch with the best test accuracy, which the paper reports. There is no verdict for a single "
        "seed, or for a training with other epochs than the paper's. Devices are never mixed in one mean. Our ehap "
        "is FP16 Hutchinson as the paper describes it; a section below is about its published code."
    )
    section = Section("paper", "The paper's tables", lead, blocks)
    return section, list(judged.values()).count("within"), len(judged)


def _note(table: Numbered) -> str:
    if table.frame == "trace_cost":
        return (
            "HAP is hutchinson-fp32, EHAP hutchinson-fp16 as the paper describes it, with 300 samples each. Compare "
            "seconds only where ours has as many samples, on a GPU of that kind."
        )
    if table.frame == "sizes":
        return (
            "As the paper counts: with the optimizer's momentum beside the weights, and integers as float32, 4 bytes a "
            "number. As deployed: the weights alone, or one byte a weight with its scales. The paper's KB are 1,024 "
            "bytes, ours 1,000; its numbers are converted to ours."
        )
    return ""


def _rows(material: Material, table: Numbered) -> tuple[list[Row], dict[tuple[str, ...], str]]:
    """Return a row for each number that the paper prints and each of our devices, and the verdict on each accuracy."""
    printed = material.printed[material.printed["table"] == table.number]
    ours = material.frames[table.frame]
    subject = "curvature" if table.frame == "trace_cost" else "method"
    rows: list[Row] = []
    verdicts: dict[tuple[str, ...], str] = {}
    for line in rows_of(printed.reset_index()):
        for quantity in PROTOCOL.get(line["quantity"], (line["quantity"],)):
            wanted = {"dataset": line["dataset"], "model": line["model"], subject: line["subject"]}
            wanted |= {"scheme": line["scheme"], "quantity": quantity}
            matching = ours[(ours[list(wanted)] == list(wanted.values())).all(axis=1)]
            found = rows_of(matching) or [{}]
            for mine in found:
                row, judged = _row(material, line, quantity, subject, mine)
                rows.append(row)
                if quantity == "best_accuracy" and judged not in ("", OTHER):  # like with like
                    verdicts[line["dataset"], line["model"], line["subject"], line["scheme"], mine["device"]] = judged
    return rows, verdicts


def _row(
    material: Material, line: dict[str, Any], quantity: str, subject: str, mine: dict[str, Any]
) -> tuple[Row, str]:
    unit = str(mine.get("unit", "")) or _unit(quantity)
    unit = "memory" if quantity == "peak_memory" else unit
    mean, spread = float(mine.get("mean", nan)), float(mine.get("std", nan))
    difference = mean - float(line["paper"])
    judged: str = verdict(difference, spread, float(line["paper_spread"]))
    if judged and _other_epochs(material, line, str(mine["device"])):
        judged = OTHER
    stage = "trace" if subject == "curvature" else "evaluate"
    where = {"stage": stage, "dataset": line["dataset"], "model": line["model"], subject: line["subject"]}
    sources = material.sources(**where, scheme=line["scheme"], device=mine["device"]) if mine else ()
    if mine and quantity.endswith("_kept"):
        sources += material.sources(**{**where, subject: DENSE})
    theirs = material.printed_sources(line["index"])
    network = line["subject"] + (f", {line['scheme']}" if line["scheme"] else "")
    cells = (
        *network_cells(line["dataset"], line["model"]),
        Cell(network),
        Cell(quantity_name(quantity)),
        Cell(number(mean, unit, spread), mean) if mine else Cell("not yet", -1, (), "missing"),
        Cell(str(int(mine["n"])), int(mine["n"])) if mine else Cell("", 0),
        Cell(number(float(line["paper"]), unit, float(line["paper_spread"])), float(line["paper"]), theirs),
        _difference(difference, unit, (*sources, *theirs)),
        Cell(judged, judged, (*sources, *theirs), "" if judged == OTHER else judged),  # type: ignore[arg-type]  # one of the tones
        Cell(str(mine.get("device", ""))),
    )
    return Row(
        sourced(cells, sources), line["dataset"], line["model"], line["subject"] if subject == "method" else ""
    ), judged


def _other_epochs(material: Material, line: dict[str, Any], device: str) -> bool:
    """Return whether a training behind one of our numbers has other epochs than the paper prints.

    A training without a record has none. Where the paper prints no epochs, nothing differs.
    """
    wanted = {"pretrain": ("", "")}
    if line["subject"] != DENSE:
        wanted["finetune"] = (line["subject"], "")
    if line["scheme"]:
        wanted["qat"] = (line["subject"], line["scheme"])
    ours, printed = (
        frame[(frame["model"] == line["model"]) & (frame["setting"] == "epochs")]
        for frame in (material.settings, material.printed_settings)
    )
    ours = ours[(ours["dataset"] == line["dataset"]) & (ours["device"] == device)]
    for stage, (method, scheme) in wanted.items():
        mine = ours[(ours[["stage", "method", "scheme"]] == [stage, method, scheme]).all(axis=1)]["value"]
        paper = printed[(printed["stage"] == stage) & printed["dataset"].isin(["", line["dataset"]])]["value"]
        if len(paper) and set(mine.astype(float)) != set(paper.astype(float)):
            return True
    return False


def _unit(quantity: str) -> str:
    units = {
        "file_size": "bytes",
        "published_size": "bytes",
        "flops": "flop",
        "trace_time": "s",
        "peak_memory": "memory",
    }
    return units.get(quantity, "percent")


def _differing(unit: str) -> str:
    return "percentage points" if unit == "percent" else unit


def _difference(value: float, unit: str, sources: tuple[int, ...]) -> Cell:
    return Cell("", 0.0) if isnan(value) else Cell(number(value, _differing(unit), sign=True), value, sources)
