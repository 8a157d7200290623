"""Accuracy against size: of files or parameters for the page, of parameters and FLOPs kept for a file."""

from collections.abc import Mapping
from typing import Any

import altair
import pandas

from ehap.results.families import Families
from ehap.results.figures.base import HEIGHT, base_chart, coloured, filtered, log_axis, marks_of, panels, shown, spreads
from ehap.results.format import cell_name

STATES = {"dense": "square", "pruned": "circle", "quantized": "diamond"}
CHOSEN = "(datum.method === chosen || datum.state === 'dense') && datum.device === chosen_device"
PALE = 0.25
SHARES = {"parameters_kept": "parameters kept, %", "flops_kept": "FLOPs kept, %"}


def accuracy_by_size(points: pandas.DataFrame, colours: Mapping[str, int], size: str) -> Any:
    """Return accuracy against size: a point a network, pruned and quantized ones of one method joined.

    The parameters ``chosen`` and ``chosen_device`` name one network: its way from dense to quantized is drawn and
    named, and the other networks are pale.

    Args:
        points: method, family, group, device, state (dense, pruned, quantized), size, accuracy, spread (0: none),
            label, order (along the way from dense to quantized).
        colours: Family to the number of its colour.
        size: Title of the axis, with its unit.
    """
    base = base_chart(points)
    x = altair.X("size:Q", title=size, scale=altair.Scale(type="log", nice=False, padding=44), axis=log_axis())
    y = altair.Y("accuracy:Q", title="test accuracy, %", scale=altair.Scale(zero=False, padding=20))
    families = coloured("family", colours)
    base = base.add_params(altair.param(name="chosen", value=""), altair.param(name="chosen_device", value=""))
    pale = altair.condition(f"chosen === '' || ({CHOSEN})", altair.value(1), altair.value(PALE))
    path = base.mark_line(strokeWidth=1.2, opacity=PALE).encode(
        x, y, families, detail=["method:N", "device:N"], order="order:Q"
    )
    states = {state: shape for state, shape in STATES.items() if (points["state"] == state).any()}
    shapes = altair.Scale(domain=list(states), range=list(states.values()))
    marks = base.mark_point(filled=True, size=110, stroke="var(--card)", strokeWidth=1).encode(
        *(x, y, families, altair.Shape("state:N", scale=shapes, legend=altair.Legend(title=None, orient="bottom"))),
        opacity=pale,
        tooltip=["label:N", "state:N", shown("accuracy", ".2f", "accuracy, %"), shown("size", ",.1f", size)],
    )
    rules = spreads(base, x, y, families.copy(), points)
    for rule in rules:
        rule.encoding.opacity = marks.encoding.opacity
    return altair.layer(path, *rules, *_way(points, x, y), marks).properties(height=HEIGHT)


def _way(points: pandas.DataFrame, x: altair.X, y: altair.Y) -> list[Any]:
    """Return the layers of the chosen network's way, and of its words."""
    dense = points["state"] == "dense"
    found = [
        pandas.concat([points[dense & (points["device"] == device)], mine]).assign(method=str(method))
        for (method, device), mine in points[~dense].groupby(["method", "device"], sort=False)
    ]
    ways = (pandas.concat(found) if found else points)[
        [*("method", "device", "state", "size", "accuracy", "order"), *({"group"} & set(points))]
    ]
    chosen = "datum.method === chosen && datum.device === chosen_device"
    mine = altair.condition(chosen, altair.value(1), altair.value(0))
    base = filtered(altair.Chart(ways), ways).encode(x, y, opacity=mine)
    line = base.mark_line(strokeWidth=2, color="var(--text)", strokeDash=[2, 3]).encode(
        detail=["method:N", "device:N"], order="order:Q"
    )
    words = base.mark_text(dy=-14, fontSize=11, fontWeight=600, color="var(--text)").encode(text="state:N")
    return [line, words]


def accuracy_by_shares(frame: pandas.DataFrame, families: Families, colours: Mapping[str, int]) -> Any:
    """Return accuracy against parameters and FLOPs kept, a row of two panels for each dataset and model.

    Args:
        frame: As ``comparison`` returns it.
        families: Methods of one sweep are one line; those of another device are another line.
        colours: Family to the number of its colour.
    """
    frame = frame.dropna(subset=["accuracy"])
    several = frame["device"].nunique() > 1
    names = frame["method"].map(lambda method: families.family(str(method)))
    frame = frame.assign(line=names + (", " + frame["device"] if several else ""), spread=frame["accuracy_std"])
    there = dict.fromkeys(frame["line"])
    if several:
        colours = {name: index + 1 for index, name in enumerate(there)}
    colours = {name: index for name, index in sorted(colours.items(), key=lambda pair: pair[1]) if name in there}
    charts = []
    for (dataset, model), part in frame.groupby(["dataset", "model"], sort=False):
        done = part.fillna({"spread": 0.0})[["line", "method", "device", "accuracy", "spread", *SHARES]]
        for size, label in SHARES.items():
            chart = _by_share(done.dropna(subset=[size]), size, label, colours)
            charts.append(chart.properties(width=330, height=250, title=cell_name(dataset, model)))
    return panels(charts, 2)


def _by_share(done: pandas.DataFrame, size: str, label: str, colours: Mapping[str, int]) -> Any:
    base = base_chart(done)
    x = altair.X(f"{size}:Q", title=label, scale=altair.Scale(type="log", nice=False, padding=14), axis=log_axis())
    y = altair.Y("accuracy:Q", title="accuracy after fine-tuning, %", scale=altair.Scale(zero=False, padding=12))
    hue = coloured("line", colours, legend=True)
    tooltip = ["method:N", "device:N", shown("accuracy", ".2f", "accuracy, %"), shown(size, ",.1f", label)]
    lines = base.mark_line(strokeWidth=1.2).encode(x, y, hue)
    marks = base.mark_point(size=45, filled=True, opacity=1).encode(
        x, y, hue, marks_of("line", colours), tooltip=tooltip
    )
    return altair.layer(*spreads(base, x, y, hue, done), lines, marks)
