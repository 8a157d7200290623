"""Learning curves as a picture."""

import io
from collections.abc import Sequence

import matplotlib as mpl
import pandas
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

HASH_SALT = "ehap"  # SVG names its parts by random numbers otherwise: the same curves should be the same bytes


def learning_curves(curves: Sequence[tuple[str, str, pandas.DataFrame]], title: str) -> bytes:
    """Return an SVG with a panel for each stage: accuracy over epochs, on test images solid, in training dotted.

    Args:
        curves: (stage, label, history); a history has the columns epoch, train_accuracy, test_accuracy (percent).
        title: Above all panels.
    """
    stages = list(dict.fromkeys(stage for stage, _, _ in curves))
    labels = list(dict.fromkeys(label.split()[0] for _, label, _ in curves))
    colours = {label: f"C{index % 10}" for index, label in enumerate(labels)}
    figure = Figure(figsize=(4.2 * len(stages), 3.4), layout="constrained")
    axes = figure.subplots(1, len(stages), squeeze=False, sharey=True)[0]
    for axis, stage in zip(axes, stages, strict=True):
        for _, label, history in (curve for curve in curves if curve[0] == stage):
            colour = colours[label.split()[0]]
            mark = "." if len(history) == 1 else None  # a single epoch has no line
            axis.plot(history["epoch"], history["test_accuracy"], color=colour, marker=mark, label=label)
            axis.plot(history["epoch"], history["train_accuracy"], color=colour, marker=mark, ls=":", lw=1)
        axis.set(title=stage, xlabel="epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small", frameon=False)
    axes[0].set_ylabel("accuracy, % (dotted: in training)")
    figure.suptitle(title)
    content = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": HASH_SALT, "svg.fonttype": "none"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()
