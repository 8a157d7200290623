"""Learning curves: accuracy over the epochs of trainings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair
import pandas

from ehap.results.figures.base import HEIGHT, coloured, filtered, palette, panels, shown
from ehap.results.order import TRAININGS
from ehap.settings.names import DENSE

FEW_EPOCHS = 8  # each has a tick of its own
MOST_POINTS = 60  # of a curve on the page: more could not be told apart


@dataclass(frozen=True)
class Curve:
    """One training. history: epoch, train_accuracy, test_accuracy (percent)."""

    stage: str
    method: str
    scheme: str
    history: pandas.DataFrame


def learning_curves(
    history: pandas.DataFrame, names: pandas.DataFrame, colours: Mapping[str, int], *, legend: bool = False
) -> Any:
    """Return accuracy over the epochs of one stage, on test images solid, in training thin and dotted.

    A training of a single epoch is a pair of points, on test images filled, in training hollow. Where all are, each
    family has a column of its own.

    Args:
        history: curve, epoch, test, train (percent).
        names: curve, method, family, label, and group on the page; once a curve, since long runs have many epochs.
        colours: Family to the number of its colour.
        legend: Whether the chart names the families.
    """
    last = int(history["epoch"].max())
    every: dict[str, Any] = {"values": list(range(1, last + 1))} if last <= FEW_EPOCHS else {}
    axis = altair.Axis(format="d", tickMinStep=1, **every)
    named = altair.LookupData(data=names, key="curve", fields=[str(name) for name in names if name != "curve"])
    lines = filtered(altair.Chart(history).transform_lookup(lookup="curve", from_=named), names)
    lines = lines.transform_fold(["test", "train"], as_=["set", "accuracy"]).encode(
        altair.Y("accuracy:Q", title="accuracy, %", scale=altair.Scale(zero=False)),
        coloured("family", colours, legend),
        detail="label:N",
        tooltip=["label:N", "set:N", "epoch:Q", shown("accuracy", ".2f", "accuracy, %")],
    )
    filled = altair.FillOpacity("set:O", scale=altair.Scale(domain=["test", "train"], range=[1, 0]), legend=None)
    fill = altair.Fill("family:N", scale=palette(colours), legend=None)
    points = lines.mark_point(size=60, opacity=1).encode(fill, filled)
    if last == 1:
        columns = altair.X("family:N", title="after one epoch", sort=list(colours), axis=altair.Axis(labels=False))
        return points.encode(columns).properties(height=HEIGHT)
    both = altair.Scale(domain=["test", "train"], range=[[1, 0], [2, 3]])
    thick = altair.Scale(domain=["test", "train"], range=[1.8, 1])
    epochs = altair.X("epoch:Q", title="epoch", axis=axis, scale=altair.Scale(nice=False))
    lines = lines.mark_line().encode(
        epochs,
        altair.StrokeDash("set:O", scale=both, legend=None),
        altair.StrokeWidth("set:O", scale=thick, legend=None),
    )
    lengths = history["curve"].value_counts()
    single = [int(curve) for curve in lengths.index[lengths == 1]]  # no line has one point
    if single:
        chosen = altair.FieldOneOfPredicate("curve", single)
        return altair.layer(lines, points.transform_filter(chosen).encode(epochs)).properties(height=HEIGHT)
    return lines.properties(height=HEIGHT)


def thinned(history: pandas.DataFrame) -> pandas.DataFrame:
    """Return at most MOST_POINTS epochs of a long training, the first and the last among them."""
    if len(history) <= MOST_POINTS:
        return history
    return history.iloc[[round(index * (len(history) - 1) / (MOST_POINTS - 1)) for index in range(MOST_POINTS)]]


def curves_of_cell(curves: Sequence[Curve], title: str) -> Any:
    """Return the learning curves of one dataset, model and seed, a panel for each stage.

    Args:
        curves: The dense network's first, then in the order of the methods.
        title: Heading above all panels.
    """
    curves = [curve for curve in curves if len(curve.history)]  # a calibration has no epochs
    methods = dict.fromkeys([DENSE, *(curve.method for curve in curves)])
    schemes = {curve.scheme for curve in curves if curve.scheme}
    labels = [*methods, *dict.fromkeys(_label(curve, schemes) for curve in curves)]
    colours = {label: index for index, label in enumerate(dict.fromkeys(labels))}
    charts = []
    for stage, words in TRAININGS.items():
        mine = [curve for curve in curves if curve.stage == stage]
        if mine:
            chart = learning_curves(*_frames(mine, schemes), colours, legend=True)
            only = next(iter(schemes)) if stage == "qat" and len(schemes) == 1 else ""
            titles = [", ".join(filter(None, [words, only])), "test solid, training dotted"]
            charts.append(chart.properties(width=280, title=altair.TitleParams(titles, fontSize=11)))
    return panels(charts, max(1, len(charts)), title, y="shared")


def _label(curve: Curve, schemes: set[str]) -> str:
    """Return the entry of a curve in the legend: its method, and its scheme where there are several."""
    return f"{curve.method}, {curve.scheme}" if curve.scheme and len(schemes) > 1 else curve.method


def _frames(curves: Sequence[Curve], schemes: set[str]) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    points, names = [], []
    for index, curve in enumerate(curves):
        label = _label(curve, schemes)
        names.append({"curve": index, "method": curve.method, "family": label, "label": label})
        test, train = (curve.history[f"{which}_accuracy"] for which in ("test", "train"))
        points.append(pandas.DataFrame({"curve": index, "epoch": curve.history["epoch"], "test": test, "train": train}))
    return pandas.concat(points, ignore_index=True), pandas.DataFrame(names)
