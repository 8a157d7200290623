"""Accuracy of pruned networks at each step of a repair without labels, by size and by the number of images."""

from collections.abc import Mapping, Sequence
from math import isnan, nan
from typing import Any

import altair
import pandas

from ehap.results.figures.base import HEIGHT, MUTED, SHAPES, base_chart, coloured, key, panels, shown, spreads
from ehap.results.format import cell_name
from ehap.results.repair import STEPS, usual_images, usual_steps

COLOURS = {step: index for index, step in enumerate(STEPS.values())}
ACROSS = 4
APART = 1.1
"""Ticks of a logarithmic axis that are nearer to each other than this factor would overlap."""


def steps_of_repair(
    points: pandas.DataFrame,
    steps: Mapping[str, int],
    size: str,
    dense: float = nan,
    *,
    whole: bool = True,
    legend: bool = False,
) -> Any:
    """Return accuracy at each step of a repair.

    Args:
        points: method, step, size, accuracy, spread (0: none).
        steps: To the number of its colour and shape.
        size: Title of the axis.
        dense: Accuracy of the dense network, a dashed line; NaN for none.
        whole: Whether the axis of accuracy has all of 0 to 100 %.
        legend: Whether the chart names the steps.
    """
    base = base_chart(points)
    axis = altair.Axis(values=_ticks(points["size"]), format=",.0f", labelOverlap="greedy")
    x = altair.X("size:Q", title=size, scale=altair.Scale(type="log", nice=False, padding=16), axis=axis)
    scale = altair.Scale(domain=[0, 100]) if whole else altair.Scale(zero=False, padding=12)
    y = altair.Y("accuracy:Q", title="test accuracy, %", scale=scale)
    hue = coloured("step", steps, legend)
    shapes = altair.Scale(domain=list(steps), range=[SHAPES[index] for index in steps.values()])
    shape = altair.Shape("step:N", scale=shapes, legend=key(steps) if legend else None)
    tooltip = ["method:N", "step:N", shown("accuracy", ".2f", "accuracy, %"), shown("size", ",.1f", size)]
    lines = base.mark_line(strokeWidth=1.8).encode(x, y, hue)
    marks = base.mark_point(size=55, filled=True, opacity=1).encode(x, y, hue, shape, tooltip=tooltip)
    layers = [*spreads(base, x, y, hue, points), lines, marks]
    if not isnan(dense):
        level = altair.Chart(pandas.DataFrame({"dense": [dense]})).mark_rule(strokeDash=[5, 4], color=MUTED)
        layers.insert(0, level.encode(y="dense:Q"))
    return altair.layer(*layers).properties(height=HEIGHT)


def repair_by_size(frame: pandas.DataFrame) -> Any:
    """Return accuracy at each step of the repair against parameters kept, a panel for each ranking and device.

    Args:
        frame: As ``repaired`` returns it. A ranking that was repaired at one size only has no panel, unless this is
            so of all.
    """
    sized = usual_steps(usual_images(frame.dropna(subset="parameters_kept")))  # without a plan there is no size
    keys = ["dataset", "model", "ranking", "device"]
    return _panels(sized, keys, "parameters_kept", "parameters kept, %", list(STEPS))


def repair_by_images(frame: pandas.DataFrame) -> Any:
    """Return accuracy of reconstructed and distilled networks against images, a panel for each ranking and size.

    Args:
        frame: As ``repaired`` returns it. A ranking and size that was repaired on one number of images only has no
            panel, unless this is so of all.
    """
    sized = usual_steps(frame.dropna(subset="parameters_kept"))
    sized = sized.assign(size=sized["parameters_kept"].round().astype(int))
    keys = ["dataset", "model", "ranking", "size", "device"]
    return _panels(sized, keys, "images", "images without labels", list(STEPS)[2:])


def _panels(frame: pandas.DataFrame, keys: list[str], size: str, label: str, steps: Sequence[str]) -> Any:
    """Return a panel for each value of the keys whose sizes differ; all of them where none differ."""
    every = [part for _, part in frame.groupby(keys, sort=False)]
    chosen = [part for part in every if part[size].nunique() > 1] or every
    several = frame["device"].nunique() > 1
    named = {STEPS[name]: COLOURS[STEPS[name]] for name in steps if any(part[name].notna().any() for part in chosen)}
    charts = []
    for part in chosen:
        first = part.iloc[0]
        title = [", ".join(filter(None, [first["ranking"], f"{first['size']} %" if "size" in part else ""]))]
        title += [cell_name(first["dataset"], first["model"]), *([first["device"]] if several else [])]
        chart = steps_of_repair(_points(part, size, steps), named, label, whole=size != "images", legend=True)
        charts.append(chart.properties(width=220, title=altair.TitleParams(title, fontSize=11)))
    return panels(charts, min(ACROSS, max(1, len(charts))), y="shared")


def _points(part: pandas.DataFrame, size: str, steps: Sequence[str]) -> pandas.DataFrame:
    """Return a point for each step and size; methods of one size are one point, their mean."""
    found = []
    for name in steps:
        means = part.dropna(subset=[name]).groupby(size, as_index=False)[[name, f"{name}_std"]].mean()
        renamed = means.rename(columns={size: "size", name: "accuracy", f"{name}_std": "spread"})
        found.append(renamed.assign(step=STEPS[name], method=", ".join(sorted(set(part["method"]))[:1])))
    return pandas.concat(found, ignore_index=True).fillna({"spread": 0.0})


def _ticks(sizes: "pandas.Series[Any]") -> list[float]:
    """Return the sizes that have a tick: labels of neighbours would overlap."""
    ticks: list[float] = []
    for value in sorted(sizes.round(2).unique()):
        ticks += [float(value)] if not ticks or value > APART * ticks[-1] else []
    return ticks
