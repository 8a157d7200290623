"""Quantization schemes: accuracy against the size of the file."""

from collections.abc import Mapping
from math import isnan
from typing import Any

import altair
import pandas

from ehap.results.figures.base import base_chart, coloured, palette, panels, shown, spreads
from ehap.results.format import cell_name
from ehap.settings.scheme import BYTE, FLOAT

WIDTHS = {"activations of 8 bits": 1, "activations of fewer bits": 3}
"""A scheme's treatment of activations, to the number of its colour."""


def schemes(points: pandas.DataFrame, colours: Mapping[str, int], *, legend: bool = False) -> Any:
    """Return accuracy against bytes, a named point a quantization scheme; hollow where nothing was trained.

    Args:
        points: method, scheme, group, size (KB), accuracy, spread (0: none), width, trained (trained or calibrated).
        colours: Width to the number of its colour.
        legend: Whether the chart names the widths.
    """
    base = base_chart(points)
    x = altair.X("size:Q", title="size of the file, KB", scale=altair.Scale(zero=False, nice=False, padding=30))
    y = altair.Y("accuracy:Q", title="test accuracy, %", scale=altair.Scale(zero=False, padding=16))
    hue = coloured("width", colours, legend)
    fill = altair.Scale(domain=["trained", "calibrated"], range=[1, 0])
    marks = base.mark_point(size=90, strokeWidth=1.8, opacity=1).encode(
        *(x, y, hue, altair.Fill("width:N", scale=palette(colours), legend=None)),
        fillOpacity=altair.FillOpacity("trained:O", scale=fill, legend=None),
        tooltip=["scheme:N", "trained:N", shown("accuracy", ".2f", "accuracy, %"), shown("size", ",.1f", "KB")],
    )
    words = [
        base.transform_filter(f"datum.trained === '{how}'")
        .mark_text(dy=13 * side + 1, fontSize=11, color="var(--text)")
        .encode(x, y, text="scheme:N")
        for how, side in (("trained", 1), ("calibrated", -1))  # of one size they would overlap
    ]
    return altair.layer(*spreads(base, x, y, hue, points, opacity=0.6), marks, *words).properties(height=260)


def scheme_points(part: pandas.DataFrame) -> pandas.DataFrame:
    """Return the points of rows of ``precisions``, as ``schemes`` takes them, without their groups."""
    widths = list(WIDTHS)
    return pandas.DataFrame(
        {
            "method": part["method"],
            "scheme": part["scheme"],
            "size": part["file_size"] / 1e3,
            "accuracy": part["accuracy"],
            "spread": [0.0 if isnan(spread) else spread for spread in part["accuracy_std"]],
            "width": [widths[0] if bits == BYTE else widths[1] for bits in part["activation_bits"]],
            "trained": ["trained" if epochs else "calibrated" for epochs in part["epochs"]],
        }
    )


def widths_of(points: pandas.DataFrame) -> dict[str, int]:
    """Return the widths of points to their colours."""
    return {label: index for label, index in WIDTHS.items() if (points["width"] == label).any()}


def accuracy_by_bytes(frame: pandas.DataFrame) -> Any:
    """Return accuracy against the file's size, a panel for each method; trained schemes filled.

    Args:
        frame: As ``precisions`` returns it. Schemes whose file holds floats are left out.
    """
    quantized = frame[frame["weight_bits"] < FLOAT]
    colours = widths_of(scheme_points(quantized))
    charts = []
    for (dataset, model, method), part in quantized.groupby(["dataset", "model", "method"], sort=False):
        title = [f"{method}, {cell_name(dataset, model)}", "filled: trained, hollow: calibrated only"]
        chart = schemes(scheme_points(part), colours, legend=True)
        charts.append(chart.properties(width=330, title=altair.TitleParams(title, fontSize=11)))
    return panels(charts, 3)
