"""The pictures, as Vega-Lite specifications. Colours are names of the page's own, so that they follow its theme."""

from collections.abc import Mapping
from math import isnan
from typing import Any

import altair
import pandas

COLOURS = 10
STATES = {"dense": "square", "pruned": "circle", "quantized": "diamond"}
MUTED = "var(--muted)"
POOLED = "replace(datum.method, regexp('-draw[0-9]+$'), '')"
CHOSEN = "(datum.method === chosen || datum.state === 'dense') && datum.device === chosen_device"
PALE = 0.25
FEW_EPOCHS = 8  # each has a tick of its own
MOST_POINTS = 60  # of a learning curve: more could not be told apart


def colour(index: int) -> str:
    """Return the page's colour of that number; beyond those that there are, the same again nearer to the text's."""
    plain, again = f"var(--c{index % COLOURS})", index // COLOURS
    return f"color-mix(in oklab, {plain} {100 / (1 + again):.0f}%, var(--text))" if again else plain


def accuracy_by_size(points: pandas.DataFrame, colours: Mapping[str, int], size: str) -> dict[str, Any]:
    """Return accuracy against size: a point a network, pruned and quantized ones of one method joined.

    The parameters ``chosen`` and ``chosen_device`` name the network whose way from dense to quantized is drawn and
    named; the others are pale then.

    Args:
        points: method, family, device, state (dense, pruned, quantized), size, accuracy, spread (0: none), label,
            order (along the way from dense to quantized).
        colours: Family to the number of its colour.
        size: What ``size`` is, with its unit.
    """
    base = _chart(points).transform_calculate(low="datum.accuracy - datum.spread", high="datum.accuracy + datum.spread")
    x = altair.X("size:Q", title=size, scale=altair.Scale(type="log", nice=False, padding=44), axis=_log_axis())
    y = altair.Y("accuracy:Q", title="test accuracy, %", scale=altair.Scale(zero=False, padding=20))
    families = _colour("family", colours)
    base = base.add_params(altair.param(name="chosen", value=""), altair.param(name="chosen_device", value=""))
    pale = altair.condition(f"chosen === '' || ({CHOSEN})", altair.value(1), altair.value(PALE))
    path = base.mark_line(strokeWidth=1.2, opacity=PALE).encode(
        x, y, families, detail=["method:N", "device:N"], order="order:Q"
    )
    rules = base.transform_filter("datum.spread > 0").mark_rule()
    rules = rules.encode(x, families, _low(y), y2="high:Q", opacity=pale)
    states = {state: shape for state, shape in STATES.items() if (points["state"] == state).any()}
    shapes = altair.Scale(domain=list(states), range=list(states.values()))
    marks = base.mark_point(filled=True, size=110, stroke="var(--card)", strokeWidth=1).encode(
        *(x, y, families, altair.Shape("state:N", scale=shapes, legend=altair.Legend(title=None, orient="bottom"))),
        opacity=pale,
        tooltip=["label:N", "state:N", _shown("accuracy", ".2f", "accuracy, %"), _shown("size", ",.1f", size)],
    )
    chosen = "datum.method === chosen && datum.device === chosen_device"
    mine = altair.condition(chosen, altair.value(1), altair.value(0))
    ways = _chart(_ways(points)).encode(x, y, opacity=mine)
    way = ways.mark_line(strokeWidth=2, color="var(--text)", strokeDash=[2, 3]).encode(
        detail=["method:N", "device:N"], order="order:Q"
    )
    words = ways.mark_text(dy=-14, fontSize=11, fontWeight=600, color="var(--text)").encode(text="state:N")
    layers = [path, *([rules] if (points["spread"] > 0).any() else []), way, words, marks]
    return _spec(altair.layer(*layers).properties(height=230))


def _ways(points: pandas.DataFrame) -> pandas.DataFrame:
    """Return the points of each pruned network, the dense network of the same device ahead."""
    dense = points["state"] == "dense"
    ways = [
        pandas.concat([points[dense & (points["device"] == device)], mine]).assign(method=str(method))
        for (method, device), mine in points[~dense].groupby(["method", "device"], sort=False)
    ]
    columns = ["method", "device", "state", "size", "accuracy", "order"]
    return (pandas.concat(ways) if ways else points)[columns]


def steps_of_repair(points: pandas.DataFrame, steps: Mapping[str, int], size: str, dense: float) -> dict[str, Any]:
    """Return accuracy at each step of a repair.

    Args:
        points: method, step, size, accuracy, spread.
        steps: To the number of its colour.
        size: What ``size`` is.
        dense: Accuracy of the dense network.
    """
    base = _chart(points).transform_calculate(low="datum.accuracy - datum.spread", high="datum.accuracy + datum.spread")
    ticks = sorted(points["size"].round(2).unique())
    axis = altair.Axis(values=ticks, format=",.0f", labelOverlap=True)
    x = altair.X("size:Q", title=size, scale=altair.Scale(type="log", nice=False, padding=16), axis=axis)
    y = altair.Y("accuracy:Q", title="test accuracy, %", scale=altair.Scale(domain=[0, 100]))
    hue = _colour("step", steps)
    tooltip = ["method:N", "step:N", _shown("accuracy", ".2f", "accuracy, %"), _shown("size", ",.1f", size)]
    lines = base.mark_line(point={"size": 55, "filled": True}, strokeWidth=1.8).encode(x, y, hue, tooltip=tooltip)
    layers = [lines]
    if (points["spread"] > 0).any():
        layers.insert(0, base.transform_filter("datum.spread > 0").mark_rule().encode(x, hue, _low(y), y2="high:Q"))
    if not isnan(dense):
        level = altair.Chart(pandas.DataFrame({"dense": [dense]})).mark_rule(strokeDash=[5, 4], color=MUTED)
        layers.insert(0, level.encode(y="dense:Q"))
    return _spec(altair.layer(*layers).properties(height=230))


def learning_curves(history: pandas.DataFrame, names: pandas.DataFrame, colours: Mapping[str, int]) -> dict[str, Any]:
    """Return accuracy over the epochs of one stage, on test images solid, in training thin.

    Of a single epoch: a column of points each family, on test images filled, in training hollow.

    Args:
        history: curve, epoch, test, train (percent).
        names: curve, method, family, label: said once a curve, since long runs have many epochs.
        colours: Family to the number of its colour.
    """
    last = int(history["epoch"].max())
    every: dict[str, Any] = {"values": list(range(1, last + 1))} if last <= FEW_EPOCHS else {}
    axis = altair.Axis(format="d", tickMinStep=1, **every)
    named = altair.LookupData(data=names, key="curve", fields=["method", "family", "label"])
    both = altair.Scale(domain=["test", "train"], range=[[1, 0], [2, 3]])
    lines = _filtered(altair.Chart(history).transform_lookup(lookup="curve", from_=named))
    lines = lines.transform_fold(["test", "train"], as_=["set", "accuracy"]).encode(
        altair.Y("accuracy:Q", title="accuracy, %", scale=altair.Scale(zero=False)),
        _colour("family", colours),
        detail="label:N",
        tooltip=["label:N", "set:N", "epoch:Q", _shown("accuracy", ".2f", "accuracy, %")],
    )
    if last == 1:
        columns = altair.X("family:N", title="after one epoch", sort=list(colours), axis=altair.Axis(labels=False))
        filled = altair.FillOpacity("set:O", scale=altair.Scale(domain=["test", "train"], range=[1, 0]), legend=None)
        fill = altair.Fill("family:N", scale=_palette(colours), legend=None)
        return _spec(lines.mark_point(size=60, opacity=1).encode(columns, fill, filled).properties(height=230))
    thick = altair.Scale(domain=["test", "train"], range=[1.8, 1])
    lines = lines.mark_line().encode(
        altair.X("epoch:Q", title="epoch", axis=axis, scale=altair.Scale(nice=False)),
        altair.StrokeDash("set:O", scale=both, legend=None),
        altair.StrokeWidth("set:O", scale=thick, legend=None),
    )
    return _spec(lines.properties(height=230))


def thinned(history: pandas.DataFrame) -> pandas.DataFrame:
    """Return at most so many epochs of a long training, the first and the last among them."""
    if len(history) <= MOST_POINTS:
        return history
    return history.iloc[[round(index * (len(history) - 1) / (MOST_POINTS - 1)) for index in range(MOST_POINTS)]]


def kept_channels(layers: pandas.DataFrame, colours: Mapping[str, int]) -> dict[str, Any]:
    """Return networks as they are left: a bar a layer, its outline all the channels there were.

    Args:
        layers: method, name (as shown), family, layer, position, width, kept.
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
    picture = altair.layer(outline.encode(up, down), inside.encode(up, down, _colour("family", colours)))
    rows = picture.properties(width=600, height=56).facet(
        data=layers, row=altair.Row("name:N", header=header, sort=list(dict.fromkeys(layers["name"]))), spacing=14
    )
    return _spec(_filtered(rows).configure_axis(grid=False))


def traces(points: pandas.DataFrame, colours: Mapping[str, int]) -> dict[str, Any]:
    """Return how many of the kept channels an estimate gets right, against what it costs; more samples are joined.

    Args:
        points: estimator, seconds, overlap (0 to 1), spearman, samples (as text).
        colours: Estimator to the number of its colour.
    """
    base = altair.Chart(points).encode(
        altair.X(
            "seconds:Q", title="seconds", scale=altair.Scale(type="log", nice=False, padding=26), axis=_log_axis()
        ),
        altair.Y(
            "overlap:Q", title="kept channels shared with exact", scale=altair.Scale(domain=[0, 1.06], nice=False)
        ),
        _colour("estimator", colours),
        tooltip=[
            *("estimator:N", "samples:N", _shown("seconds", ",.1f", "seconds")),
            *(_shown("overlap", ".3f", "overlap"), _shown("spearman", ".3f", "Spearman")),
        ],
    )
    several = list(points["estimator"][points["estimator"].duplicated()].unique())
    words = base.transform_filter(altair.FieldOneOfPredicate("estimator", several)).mark_text(dy=-12, fontSize=10)
    words = words.encode(text="samples:N")
    marks = base.mark_point(filled=True, size=90, opacity=1, stroke="var(--card)", strokeWidth=1)
    return _spec(
        altair.layer(base.mark_line(strokeWidth=1.5), marks, *([words] if several else [])).properties(height=260)
    )


def schemes(points: pandas.DataFrame, colours: Mapping[str, int]) -> dict[str, Any]:
    """Return accuracy against bytes, a named point a quantization scheme; hollow where nothing was trained.

    Args:
        points: method, scheme, size (KB), accuracy, spread (0: none), width, trained (trained or calibrated).
        colours: Width to the number of its colour.
    """
    base = _chart(points).transform_calculate(low="datum.accuracy - datum.spread", high="datum.accuracy + datum.spread")
    x = altair.X("size:Q", title="size of the file, KB", scale=altair.Scale(zero=False, nice=False, padding=30))
    y = altair.Y("accuracy:Q", title="test accuracy, %", scale=altair.Scale(zero=False, padding=16))
    hue = _colour("width", colours)
    fill = altair.Scale(domain=["trained", "calibrated"], range=[1, 0])
    marks = base.mark_point(size=90, strokeWidth=1.8, opacity=1).encode(
        *(x, y, hue, altair.Fill("width:N", scale=_palette(colours), legend=None)),
        fillOpacity=altair.FillOpacity("trained:O", scale=fill, legend=None),
        tooltip=["scheme:N", "trained:N", _shown("accuracy", ".2f", "accuracy, %"), _shown("size", ",.1f", "KB")],
    )
    words = [
        base.transform_filter(f"datum.trained === '{how}'")
        .mark_text(dy=13 * side + 1, fontSize=11, color="var(--text)")
        .encode(x, y, text="scheme:N")
        for how, side in (("trained", 1), ("calibrated", -1))  # of one size they would stand on each other
    ]
    rules = base.transform_filter("datum.spread > 0").mark_rule(opacity=0.6).encode(x, hue, _low(y), y2="high:Q")
    layers = [*([rules] if (points["spread"] > 0).any() else []), marks, *words]
    return _spec(altair.layer(*layers).properties(height=260))


def latency(rows: pandas.DataFrame, what: str = "milliseconds a batch") -> dict[str, Any]:
    """Return times, a bar each network, precision and engine.

    Args:
        rows: label, precision, time, said.
        what: The unit of time.
    """
    base = altair.Chart(rows).encode(
        y=altair.Y("label:N", title=None, sort=list(rows["label"]), axis=altair.Axis(labelLimit=260)),
        x=altair.X("time:Q", title=what, scale=altair.Scale(nice=False, padding=0)),
        tooltip=["label:N", _shown("time", ",.2f", what), "said:N"],
    )
    hue = _colour("precision", {"FP32": 0, "INT8": 1})
    bars = base.mark_bar(cornerRadiusEnd=3, height={"band": 0.68}).encode(hue)
    words = base.mark_text(align="left", dx=6, color="var(--text)").encode(text=altair.Text("time:Q", format=",.1f"))
    return _spec((bars + words).properties(height=25 * len(rows)))


def _low(y: altair.Y) -> altair.Y:
    """Return the lower end of a spread, on the axis of ``y``."""
    low = y.copy()
    low.shorthand = "low:Q"
    return low


def _chart(data: pandas.DataFrame) -> Any:
    return _filtered(altair.Chart(data))


def _filtered(chart: Any) -> Any:
    """Let the page's filter of methods reach a chart: its parameter ``method`` is empty where all are shown."""
    wanted = altair.param(name="method", value="")
    return chart.add_params(wanted).transform_filter(f"method === '' || {POOLED} === method")


def _colour(field: str, colours: Mapping[str, int]) -> altair.Color:
    return altair.Color(f"{field}:N", scale=_palette(colours), legend=None)


def _palette(colours: Mapping[str, int]) -> altair.Scale:
    return altair.Scale(domain=list(colours), range=[colour(index) for index in colours.values()])


def _shown(field: str, form: str, title: str) -> altair.Tooltip:
    return altair.Tooltip(f"{field}:Q", format=form, title=title)


def _log_axis() -> altair.Axis:
    return altair.Axis(format=",~f", labelOverlap=True, tickCount=5, grid=False)


def _spec(chart: Any) -> dict[str, Any]:
    """Return the specification, filling its place in the page; looks that all charts share are the page's."""
    found: dict[str, Any] = chart.to_dict()
    for superfluous in ("$schema", "config"):
        found.pop(superfluous, None)
    if "facet" not in found:
        found["width"] = "container"
    return found
