"""Times of networks: bars of dense and pruned ones, in FP32 and INT8."""

from typing import Any

import altair
import pandas

from ehap.results.figures.base import coloured, panels, shown
from ehap.results.format import counted, model_title
from ehap.settings.deploy import FURTHER_ENGINES

PRECISIONS = {"FP32": 0, "INT8": 1}
"""To the numbers of their colours."""
BAR = 25
ENGINES = {"onnxruntime": "ONNX Runtime", **FURTHER_ENGINES, "eager": "torch, eager"}


def latency(rows: pandas.DataFrame, time: str = "milliseconds a batch", *, bar: int = BAR, legend: bool = False) -> Any:
    """Return times, a bar each network, precision and engine.

    Args:
        rows: label, precision, time, said.
        time: Title of the axis.
        bar: Pixels of one bar.
        legend: Whether the chart names the precisions.
    """
    base = altair.Chart(rows).encode(
        y=altair.Y("label:N", title=None, sort=list(rows["label"]), axis=altair.Axis(labelLimit=260)),
        x=altair.X("time:Q", title=time, scale=altair.Scale(nice=False, padding=0)),
        tooltip=["label:N", shown("time", ",.2f", time), "said:N"],
    )
    bars = base.mark_bar(cornerRadiusEnd=3, height={"band": 0.68}).encode(coloured("precision", PRECISIONS, legend))
    words = base.mark_text(align="left", dx=6, color="var(--text)").encode(text=altair.Text("time:Q", format=",.1f"))
    return (bars + words).properties(height=bar * len(rows))


def bars_of(part: pandas.DataFrame) -> pandas.DataFrame:
    """Return the bars of rows of a benchmark: engine, network, precision, latency_ms, executed_parameters."""
    label = part["engine"].map(engine_title) + ": " + part["network"] + ", " + part["precision"]
    said = [f"{size:,.0f} parameters executed" for size in part["executed_parameters"]]
    bars = part.assign(label=label, said=said, time=part["latency_ms"])
    return bars[["label", "precision", "time", "said"]]


def latency_by_batch(table: pandas.DataFrame) -> Any:
    """Return a panel for each model and number of images of a benchmark."""
    charts = []
    for (model, batch), part in table.groupby(["model", "batch"], sort=False):
        title = f"{model_title(model)}, {counted(float(str(batch)), 'image')} at a time"
        chart = latency(bars_of(part), bar=16, legend=True)
        charts.append(chart.properties(width=420, title=title))
    return panels(charts, 2, x="independent", y="independent")


def engine_title(name: object) -> str:
    """Return the usual name of an engine; an unknown one is unchanged."""
    return ENGINES.get(str(name), str(name))
