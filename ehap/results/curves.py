"""Learning curves, the shape of pruned networks, and accuracy by size, as pictures."""

import io
import re
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import pandas
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, ScalarFormatter

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
    return svg(figure)


def kept_shares(plans: Mapping[str, Mapping[str, float]], title: str) -> bytes:
    """Return an SVG that shows which share of every layer's channels each method keeps.

    Args:
        plans: Method to layer to share, 0 to 1; all of one network.
        title: Above the picture.
    """
    layers = list(next(iter(plans.values())))
    shares = [[100 * plan[layer] for layer in layers] for plan in plans.values()]
    figure = Figure(figsize=(2.5 + 0.28 * len(layers), 1.8 + 0.28 * len(plans)), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(shares, cmap="viridis", vmin=0, vmax=100, aspect="auto")
    axis.set_xticks(range(len(layers)), layers, rotation=90, fontsize="small")
    axis.set_yticks(range(len(plans)), list(plans), fontsize="small")
    figure.colorbar(image, label="channels kept, %")
    figure.suptitle(title)
    return svg(figure)


def accuracy_by_size(frame: pandas.DataFrame) -> bytes:
    """Return an SVG with accuracy against parameters and against FLOPs kept, a row for each dataset and model.

    Args:
        frame: As ``comparison`` returns it. Methods whose names differ in a last number only are one line: a sweep.
            Those of another device are another line.
    """
    several = frame["device"].nunique() > 1
    families = frame["method"].map(lambda method: _family(str(method)))
    frame = frame.assign(line=families + (", " + frame["device"] if several else ""))
    networks = list(frame.groupby(["dataset", "model"], sort=False))
    figure = Figure(figsize=(10.5, 3.6 * max(1, len(networks))), layout="constrained")
    axes = figure.subplots(max(1, len(networks)), 2, squeeze=False, sharey="row")
    lines = sorted(set(frame["line"]))
    looks = {name: (f"C{index % 10}", "osD^v"[index // 10 % 5]) for index, name in enumerate(lines)}
    sizes = (("parameters_kept", "parameters kept, %"), ("flops_kept", "FLOPs kept, %"))
    for row, ((dataset, model), part) in zip(axes, networks, strict=False):
        for axis, (size, label) in zip(row, sizes, strict=True):
            for name, points in part.groupby("line"):
                done = points.dropna(subset=["accuracy"]).sort_values(size)
                colour, marker = looks[str(name)]
                axis.errorbar(
                    *(done[size], done["accuracy"], done["accuracy_std"].fillna(0)),
                    **{"color": colour, "marker": marker, "ms": 4, "lw": 1, "capsize": 2, "label": name},
                )
            axis.set(xlabel=label, xscale="log", title=f"{model} on {dataset}")
            axis.xaxis.set_major_formatter(ScalarFormatter())
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.grid(alpha=0.3, which="both")
        row[0].set_ylabel("accuracy after fine-tuning, %")
        row[1].legend(fontsize="small", frameon=False, loc="center left", bbox_to_anchor=(1.02, 0.5))
    return svg(figure)


def _family(method: str) -> str:
    """Return a method's name without the budget that a sweep adds to it."""
    return re.sub(r"-\d+(_\d+)?$", "", method)


def svg(figure: Figure) -> bytes:
    """Return a figure as SVG; the same figure gives the same bytes."""
    content = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": HASH_SALT, "svg.fonttype": "none"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()
