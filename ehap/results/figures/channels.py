"""The channels that pruned networks keep: drawn as networks, and as shares of each layer."""

from collections.abc import Mapping
from typing import Any

import altair
import pandas

from ehap.results.figures.base import coloured, filtered

MOST_TALL, LEAST_TALL, WHOLE = 22, 12, 600
"""Pixels of a row of shares, and of all rows together."""


def kept_channels(layers: pandas.DataFrame, colours: Mapping[str, int]) -> Any:
    """Return the channels kept by each network: a bar a layer; its outline has the height of the dense layer.

    Args:
        layers: method, name (as shown), family, group, layer, position, width, kept.
        colours: Family to the number of its colour.
    """
    base = altair.Chart().encode(
        x=altair.X(
            "position:O",
            title="layers, from the images to the classes",
            axis=altair.Axis(labels=False, ticks=False, domain=False),
            scale=altair.Scale(paddingInner=0.18),
        ),
        tooltip=["name:N", "layer:N", "kept:Q", "width:Q"],
    )
    up, down = altair.Y("top:Q", title=None, axis=None), altair.Y2("bottom:Q")
    outline = base.transform_calculate(top="datum.width / 2", bottom="-datum.width / 2").mark_bar(
        cornerRadius=1.5, color="var(--track)"
    )
    inside = base.transform_calculate(top="datum.kept / 2", bottom="-datum.kept / 2").mark_bar(cornerRadius=1.5)
    header = altair.Header(title=None, labelAngle=0, labelAnchor="start", labelOrient="top", labelFontSize=12)
    picture = altair.layer(outline.encode(up, down), inside.encode(up, down, coloured("family", colours)))
    rows = picture.properties(width=600, height=56).facet(
        data=layers, row=altair.Row("name:N", header=header, sort=list(dict.fromkeys(layers["name"]))), spacing=14
    )
    return filtered(rows, layers).configure_axis(grid=False)


def kept_shares(plans: Mapping[str, Mapping[str, float]], title: str) -> Any:
    """Return which share of every layer's channels each method keeps: a row a method, a column a layer.

    Args:
        plans: Method to layer to share, 0 to 1; all of one network.
        title: Above the picture.
    """
    rows = [
        {"method": method, "layer": layer, "share": round(100 * share, 3)}
        for method, plan in plans.items()
        for layer, share in plan.items()
    ]
    layers = list(next(iter(plans.values())))
    tall = max(LEAST_TALL, min(MOST_TALL, WHOLE // len(plans)))
    return (
        altair.Chart(pandas.DataFrame(rows))
        .mark_rect(stroke="var(--card)", strokeWidth=0.5)
        .encode(
            altair.X("layer:N", title=None, sort=layers, axis=altair.Axis(labelAngle=-90, labelLimit=200)),
            altair.Y("method:N", title=None, sort=list(plans), axis=altair.Axis(labelLimit=320)),
            altair.Color(
                "share:Q",
                title="channels kept, %",
                scale=altair.Scale(scheme="viridis", domain=[0, 100]),
                legend=altair.Legend(orient="right", gradientLength=max(80, min(200, tall * len(plans)))),
            ),
            tooltip=["method:N", "layer:N", "share:Q"],
        )
        .properties(
            width=max(160, 22 * len(layers)),
            height=tall * len(plans),
            title=altair.TitleParams(title, anchor="start", fontSize=14),
        )
    )
