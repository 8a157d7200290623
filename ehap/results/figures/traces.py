"""Estimates of traces: the share of kept channels that they get right, against their cost."""

from collections.abc import Mapping
from typing import Any

import altair
import pandas

from ehap.results.figures.base import coloured, log_axis, panels, shown
from ehap.results.format import model_title

PRODUCTS = "cost of the samples run, in our FP32 Hessian-vector products"


def traces(points: pandas.DataFrame, colours: Mapping[str, int], cost: str = "seconds", *, legend: bool = False) -> Any:
    """Return the share of kept channels that an estimate gets right, against its cost; more samples are joined.

    Args:
        points: estimator, cost, overlap (0 to 1), spearman, samples (as text).
        colours: Estimator to the number of its colour.
        cost: Title of the axis.
        legend: Whether the chart names the estimators.
    """
    base = altair.Chart(points).encode(
        altair.X("cost:Q", title=cost, scale=altair.Scale(type="log", nice=False, padding=26), axis=log_axis()),
        altair.Y(
            "overlap:Q", title="kept channels shared with exact", scale=altair.Scale(domain=[0, 1.06], nice=False)
        ),
        coloured("estimator", colours, legend),
        tooltip=[
            *("estimator:N", "samples:N", shown("cost", ",.1f", cost)),
            *(shown("overlap", ".3f", "overlap"), shown("spearman", ".3f", "Spearman")),
        ],
    )
    several = list(points["estimator"][points["estimator"].duplicated()].unique())
    words = base.transform_filter(altair.FieldOneOfPredicate("estimator", several)).mark_text(dy=-12, fontSize=10)
    words = words.encode(text="samples:N")
    marks = base.mark_point(filled=True, size=90, opacity=1, stroke="var(--card)", strokeWidth=1)
    return altair.layer(base.mark_line(strokeWidth=1.5), marks, *([words] if several else [])).properties(height=260)


def estimators(judged: pandas.DataFrame, cost: "pandas.Series[float]") -> tuple[pandas.DataFrame, dict[str, int]]:
    """Return the points of a benchmark and the colours of its estimators, as ``traces`` takes them.

    Args:
        judged: Rows of the benchmark that have an overlap: contender, samples_run, overlap, spearman. A contender of
            several numbers of samples names the number at its end.
        cost: Cost of each row.
    """
    points = pandas.DataFrame(
        {
            "estimator": [
                str(name).removesuffix(f", {count:.0f} samples")
                for name, count in zip(judged["contender"], judged["samples_run"], strict=True)
            ],
            "cost": cost,
            "overlap": judged["overlap"],
            "spearman": judged["spearman"],
            "samples": [f"{count:.0f} samples" if count else "exact" for count in judged["samples_run"]],
        }
    )
    return points, {name: index + 1 for index, name in enumerate(dict.fromkeys(points["estimator"]))}


def traces_by_network(judged: pandas.DataFrame, cost: "pandas.Series[float]") -> Any:
    """Return a panel for each model and number of classes.

    Args:
        judged: As ``estimators`` takes it, with model and classes.
        cost: Cost of each row, in products.
    """
    charts = []
    for (model, classes), part in judged.groupby(["model", "classes"], sort=False):
        points, colours = estimators(part, cost[part.index])
        title = f"{model_title(model)}, {classes} classes"
        charts.append(traces(points, colours, PRODUCTS, legend=True).properties(width=430, title=title))
    return panels(charts, 2, color="independent")
