"""Columns of the table of traces, from measured costs and traces."""

import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas
import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.benchmark import Row
from benchmarks.trace_process import Case
from benchmarks.trace_ways import PAPER_SAMPLES
from benchmarks.weights import network_of
from ehap.curvature.stability import jaccard
from ehap.data import CIFAR_SHAPE
from ehap.results.figures import svg
from ehap.results.figures.traces import traces_by_network
from ehap.settings import Trace
from ehap.settings.trace import Until
from ehap.stages.trace_until import planner_of

Costs = Mapping[int, Mapping[str, Any]]
"""Number of the round to the return value of ``trace_process.measure``."""
Traces = Mapping[str, Tensor]
"""Module path to (C_out,)."""


def picture(table: pandas.DataFrame) -> bytes | None:
    """Return overlap against the cost of the samples run, as SVG; None where no contender has an overlap."""
    run = table["samples_run"].where(table["samples_run"] > 0, PAPER_SAMPLES) / PAPER_SAMPLES
    rows = table.assign(cost=table["products_worth"] * run).dropna(subset=["overlap", "cost"])
    return svg(traces_by_network(rows, rows["cost"])) if len(rows) else None


def spearman(found: Traces, reference: Traces) -> float:
    """Return the rank correlation over all channels of all layers."""
    first, second = (
        pandas.Series(torch.cat([values[name] for name in reference]).numpy()).rank() for values in (found, reference)
    )
    return float(first.corr(second))


def cost_columns(rounds: Costs, costs: Mapping[str, Costs]) -> Row:
    """Return the columns of a contender's cost.

    Args:
        rounds: Its costs.
        costs: Contender to its costs, for ratios.
    """

    def times_less_than(other: str) -> float | None:
        ratios = [
            costs[other][number]["whole"] / one["whole"]
            for number, one in rounds.items()
            if number in costs.get(other, {})
        ]
        return statistics.median(ratios) if ratios else None

    faster, ours = times_less_than("published"), times_less_than("ours fp32")
    return {
        "seconds": round(statistics.median(one["whole"] for one in rounds.values()), 2),
        "times_faster_than_published": None if faster is None else round(faster, 2),
        "products_worth": None if ours is None else round(PAPER_SAMPLES / ours, 2),
        "peak_memory_mb": round(statistics.median(one["bytes"] for one in rounds.values()) / 1e6),
        "samples_run": rounds[0]["samples"] if 0 in rounds else None,
        "rounds": len(rounds),
    }


def judge(case: Case, costs: Mapping[str, Costs], scratch: Path) -> Callable[[str], Row]:
    """Return the function from a contender to its agreement with the exact traces.

    New weights have no ranking that could be judged, and products of other libraries have no traces.
    """
    planned = planner_of(Trace(batch_size=1, until=Until(params=0.1)), CIFAR_SHAPE)(
        network_of(case.model, case.classes, case.checkpoint)
    )
    exact = load_file(scratch / "exact fp32.safetensors") if case.checkpoint and "exact fp32" in costs else {}

    def judged(name: str) -> Row:
        found = load_file(scratch / f"{name}.safetensors") if exact else {}
        return {
            "spearman": round(spearman(found, exact), 4) if found else None,
            "overlap": round(jaccard(planned(found), planned(exact)), 3) if found else None,
        }

    return judged
