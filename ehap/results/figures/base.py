"""Scales, axes, spreads and panels that several kinds of charts share."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import altair
import pandas

from ehap.results.figures.colours import COLOURS, colour

MUTED = "var(--muted)"
HEIGHT, WIDTH = 230, 300
"""Size of one panel of a file, in pixels; on the page a chart is as wide as its place."""
SHAPES = ("circle", "square", "diamond", "triangle-up", "triangle-down")
TALL = 14  # entries of one column of a legend


def filtered(chart: Any, data: pandas.DataFrame) -> Any:
    """Let the page's filter of methods reach a chart whose data name the ``group`` of each row.

    The parameter ``method`` is empty where all rows are shown.
    """
    if "group" not in data:
        return chart
    return chart.add_params(altair.param(name="method", value="")).transform_filter(
        "method === '' || datum.group === method"
    )


def base_chart(data: pandas.DataFrame) -> Any:
    """Return a chart of data with accuracy and spread: it knows both ends of each spread."""
    chart = filtered(altair.Chart(data), data)
    return chart.transform_calculate(low="datum.accuracy - datum.spread", high="datum.accuracy + datum.spread")


def spreads(base: Any, x: Any, y: altair.Y, hue: Any, data: pandas.DataFrame, **look: Any) -> list[Any]:
    """Return the layer of the spreads, on the axis of ``y``; none where no point has one."""
    if not (data["spread"] > 0).any():
        return []
    low = y.copy()
    low.shorthand = "low:Q"
    return [base.transform_filter("datum.spread > 0").mark_rule(**look).encode(x, hue, low, y2="high:Q")]


def coloured(field: str, colours: Mapping[str, int], legend: bool = False) -> altair.Color:
    """Return the colours of a field.

    Args:
        field: Column of the data.
        colours: Value to the number of its colour.
        legend: Whether the chart names them: files do, the page has a key of its own.
    """
    return altair.Color(f"{field}:N", scale=palette(colours), legend=key(colours) if legend else None)


def key(names: Collection[str]) -> altair.Legend:
    """Return the legend of so many names, right of the chart."""
    return altair.Legend(title=None, orient="right", columns=-(-len(names) // TALL))


def marks_of(field: str, colours: Mapping[str, int]) -> altair.Shape:
    """Return the shapes of a field with a legend: names beyond the number of colours get another shape."""
    shapes = [SHAPES[index // COLOURS % len(SHAPES)] for index in colours.values()]
    return altair.Shape(f"{field}:N", scale=altair.Scale(domain=list(colours), range=shapes), legend=key(colours))


def palette(colours: Mapping[str, int]) -> altair.Scale:
    """Return the scale from names to colours."""
    return altair.Scale(domain=list(colours), range=[colour(index) for index in colours.values()])


def shown(field: str, form: str, title: str) -> altair.Tooltip:
    """Return one line of a tooltip."""
    return altair.Tooltip(f"{field}:Q", format=form, title=title)


def log_axis() -> altair.Axis:
    """Return a logarithmic axis with few plain numbers."""
    return altair.Axis(format=",~f", labelOverlap=True, tickCount=5, grid=False)


def panels(charts: Sequence[Any], columns: int, title: str = "", **shared: Any) -> Any:
    """Return charts beside each other.

    Args:
        charts: At least one; without one the picture is empty.
        columns: Charts a row.
        title: Heading above all of them.
        **shared: Channels whose scales are ``shared`` or ``independent``.
    """
    if not charts:
        return altair.Chart(pandas.DataFrame({"text": ["nothing to show yet"]})).mark_text().encode(text="text:N")
    whole = altair.concat(*charts, columns=columns, spacing=24).resolve_scale(**shared)
    return whole.properties(title=altair.TitleParams(title, anchor="start", fontSize=14)) if title else whole
