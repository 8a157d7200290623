"""Pictures of benchmarks, as Altair charts."""

import altair
import pandas
import vl_convert

GREY, BLUE = "#bfbfbf", "#1f77b4"
BAR = 19
SMALL = 10
LIFTS = (13, -10, -25)  # of names in the picture of traces, in pixels below their points


def latency_bars(table: pandas.DataFrame) -> altair.VConcatChart:
    """Return a panel for each model and batch with a bar for each contender; those in INT8 are blue.

    Args:
        table: model, batch, network, precision, engine, latency_ms.
    """
    shown = table.assign(
        label=table["network"] + ", " + table["precision"] + ", " + table["engine"],
        said=[f"{value:,.1f} ms" for value in table["latency_ms"]],
    )
    panels = []
    for (model, batch), part in shown.groupby(["model", "batch"], sort=False):
        base = altair.Chart(part).encode(
            altair.Y("label:N", title=None, sort=list(part["label"]), axis=altair.Axis(labelLimit=400)),
            altair.X("latency_ms:Q", title="milliseconds a batch (less is better; blue: INT8)"),
        )
        hue = altair.Scale(domain=["FP32", "INT8"], range=[GREY, BLUE])
        bars = base.mark_bar(height={"band": 0.75}).encode(altair.Color("precision:N", scale=hue, legend=None))
        words = base.mark_text(align="left", dx=4, fontSize=SMALL).encode(text="said:N")
        panels.append((bars + words).properties(title=f"{model}, batch {batch}", width=640, height=BAR * len(part)))
    found: altair.VConcatChart = altair.vconcat(*panels).resolve_scale(y="independent", x="independent")
    return found


def traces_by_cost(table: pandas.DataFrame) -> altair.LayerChart | altair.FacetChart:
    """Return the overlap with the exact plan against the cost of what was run, a named point for each contender.

    Args:
        table: network (its legend), contender (as named in the picture), cost (in Hessian-vector products), overlap.
    """
    base = altair.Chart(table).encode(
        altair.X(
            "cost:Q",
            title="cost of what was run, in our FP32 Hessian-vector products",
            scale=altair.Scale(type="log", nice=False, padding=60),
            axis=altair.Axis(format=",~f", tickCount=6),
        ),
        altair.Y(
            "overlap:Q",
            title="overlap of the kept channels with exact",
            scale=altair.Scale(zero=False, padding=32),
        ),
    )
    marks = base.mark_point(filled=True, size=50, opacity=1).encode(altair.Color("network:N", title=None))
    # Neighbours of about the same overlap would lie on each other: their names stand at three distances.
    near = [table["network"], table["overlap"].round(1)]
    place = table.sort_values("cost").groupby(near, sort=False).cumcount().reindex(table.index) % len(LIFTS)
    words = [
        base.transform_filter(altair.FieldOneOfPredicate("contender", list(table["contender"][place == number])))
        .mark_text(dy=lift, fontSize=SMALL)
        .encode(text="contender:N")
        for number, lift in enumerate(LIFTS)
    ]
    return altair.layer(marks, *words).properties(width=600, height=320)


def svg(chart: altair.VConcatChart | altair.LayerChart | altair.FacetChart) -> bytes:
    """Return a chart as SVG; the same chart gives the same bytes."""
    return vl_convert.vegalite_to_svg(chart.to_json()).encode()
