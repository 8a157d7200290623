"""The summary of a session: each step with its time and outcome, and the measured costs."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ehap.session.steps import Step

COLUMNS = ("model", "precision", "form", "ms a product", "peak MB", "times as fast as published FP32")


def page(steps: Mapping[str, Sequence[Step]], archives: Mapping[str, Sequence[str]], notes: Sequence[str]) -> str:
    """Return the session so far as Markdown.

    Args:
        steps: Part to its steps.
        archives: Part to the names of its archives.
        notes: Lines about the whole session, e.g. files that no archive had room for.
    """
    rows = [
        (part, step.name, f"{step.seconds:.0f}", ", ".join(archives.get(part, ())), step.state, _cell(step.note))
        for part, each in steps.items()
        for step in each
    ]
    command = shlex.join(["python", "/".join(Path(sys.argv[0]).parts[-2:]), *sys.argv[1:]])
    table = markdown(("part", "step", "seconds", "files", "state", "note"), rows)
    return "\n\n".join(["# A session on a GPU", f"`{command}`", table, *notes]) + "\n"


def costs(folder: Path) -> str:
    """Return the measured Hessian-vector products of the records under ``folder`` as Markdown; empty without any."""
    found = {_key(record): record for record in map(_read, sorted(folder.rglob("*.json"))) if _is_cost(record)}
    rows = []
    for (model, precision, form), record in found.items():
        each = _value(record, "time_per_product")
        base = found.get((model, "fp32", "published"))
        ratio = "" if base is None else f"{_value(base, 'time_per_product') / each:.2f}"
        on_cpu = "instructions" in record  # memory of the whole process: only its first measurement is meaningful
        memory = "" if on_cpu else f"{_value(record, 'peak_memory') / 1e6:.0f}"
        rows.append((model, precision, form, f"{1e3 * each:.2f}", memory, ratio))
    if not rows:
        return ""
    one = next(iter(found.values()))
    images = "random images" if one["dataset"] == "random" else f"images of {one['dataset']}"
    title = f"Hessian-vector products on {one['device']}, torch {one['versions'].get('torch', '')}, {images}"
    return f"## {title}\n\n{markdown(COLUMNS, rows)}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _read(path: Path) -> Any:
    return json.loads(path.read_text())


def _is_cost(record: Any) -> bool:
    return isinstance(record, dict) and record.get("stage") == "cost"


def _key(record: Any) -> tuple[str, str, str]:
    return (record["model"], record["curvature"], record["method"]) if _is_cost(record) else ("", "", "")


def _value(record: Any, name: str) -> float:
    return float(record["values"][name]["value"])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
