"""What a pruned network is worth when it is repaired on some images without labels: table and pictures."""

import math
from collections.abc import Sequence
from typing import Any

import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from ehap.settings.names import DATASETS
from ehap.results.curves import svg
from ehap.results.paper import ORIGINAL
from ehap.results.render import number

KEYS = ["dataset", "model", "method", "device"]
STEPS = {
    "pruned_accuracy": "as pruned",
    "recalibrated_accuracy": "BatchNorm recalibrated",
    "reconstructed_accuracy": "reconstructed",
    "distilled_only_accuracy": "distilled only",
    "distilled_accuracy": "reconstructed, distilled",
}
MEANS = [*STEPS, "change", "parameters_kept", "flops_kept", "seconds", "peak_memory"]


def repaired(values: pandas.DataFrame, settings: pandas.DataFrame) -> pandas.DataFrame:
    """Return one row a network that was reconstructed or distilled without labels; draws of images are pooled.

    Args:
        values: As ``collect`` returns them.
        settings: The same.

    Returns:
        dataset, model, method, device, ranking, images, steps (of distillation), n, and mean and std (``…_std``) over
        seeds and draws of the accuracies (percent) at each step, change (percentage points: the last step less the
        dense network), parameters_kept and flops_kept (percent), seconds, and peak_memory (bytes).
    """
    rows = values[values["stage"] == "reconstruct"]
    methods = rows[KEYS].drop_duplicates()
    rows = pandas.concat([rows, values[values["stage"] == "evaluate_unrecovered"]]).merge(methods, on=KEYS)
    table = rows.pivot_table(index=[*KEYS, "seed"], columns="quantity", values="value", sort=False)
    table = table.reindex(columns=sorted({*table.columns, *MEANS, "images"})).reset_index()
    table = table.drop(columns=["parameters_kept", "flops_kept"]).merge(_sizes(values), how="left")
    fitted = table["reconstructed_accuracy"].notna()
    table["distilled_only_accuracy"] = table["distilled_accuracy"].where(~fitted)
    table["distilled_accuracy"] = table["distilled_accuracy"].where(fitted)
    last = table["distilled_accuracy"].fillna(table["distilled_only_accuracy"]).fillna(table["reconstructed_accuracy"])
    cell = ["dataset", "model", "seed"]
    known = values[values["quantity"] == "accuracy"]
    evaluated = known[(known["stage"] == "evaluate") & (known["method"] == ORIGINAL)]
    trained = known[known["stage"] == "pretrain"]  # its last epoch is the same network, should no evaluation be there
    dense = pandas.concat([evaluated, trained]).drop_duplicates([*cell, "device"])[[*cell, "device", "value"]]
    table["change"] = last - table.merge(dense, on=[*cell, "device"], how="left")["value"]
    table = table.merge(_rankings(settings), on=[*cell, "method"], how="left").fillna({"ranking": ""})
    table = table.merge(_steps(settings), on=[*KEYS, "seed"], how="left")
    table["method"] = table["method"].str.replace(r"-draw\d+$", "", regex=True)
    grouped = table.groupby([*KEYS, "ranking", "images", "steps"], sort=False)
    found = grouped[MEANS].mean().join(grouped[MEANS].std().add_suffix("_std"))
    whole: pandas.DataFrame = found.join(grouped.size().rename("n")).reset_index()
    order = ["dataset", "model", "parameters_kept", "change"]
    return whole.sort_values(order, ascending=[True, True, False, False], kind="stable", ignore_index=True)


def repaired_markdown(frame: pandas.DataFrame) -> str:
    """Return the table of repaired networks as Markdown, a section for each dataset and model."""
    lines = ["# Pruned without training and without labels", ""]
    for (dataset, model), part in frame.groupby(["dataset", "model"], sort=False):
        shown = part[["method", "images", "steps"]].astype({"images": int, "steps": int})
        columns = {
            **{name: (label, "percent") for name, label in STEPS.items()},
            "change": ("change", "percentage points"),
        }
        columns |= {"parameters_kept": ("parameters kept", "percent"), "flops_kept": ("FLOPs kept", "percent")}
        columns |= {"seconds": ("seconds", "s"), "peak_memory": ("peak memory", "GB")}
        for name, (label, unit) in columns.items():
            scale = 1e9 if unit == "GB" else 1.0
            cells = zip(part[name] / scale, part[f"{name}_std"] / scale, strict=True)
            shown[label] = [number(value, spread, unit, sign=name == "change") for value, spread in cells]
        shown["n"], shown["device"] = part["n"], part["device"]
        table = shown.loc[:, (shown != "").any()].to_markdown(index=False, disable_numparse=True)
        lines += [f"## {model}, {DATASETS.get(str(dataset), dataset)}", "", table, ""]
    note = (
        "Accuracy on all test images, mean ± standard deviation over seeds and draws of images. "
        "Change is that of the last step against the dense network. Seconds and memory (what was added to the process, "
        "or held on the GPU) are those of reconstruction and distillation, without the tests in between. BatchNorm is "
        "recalibrated on 2,048 images, whatever the repair sees."
    )
    return "\n".join([*lines, note, ""])


def usual_images(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Return the repairs on the most frequent number of images, the largest of several: one picture shows one number.

    Args:
        frame: As ``repaired`` returns it.
    """
    usual: pandas.DataFrame = frame[frame["images"] == frame["images"].mode().max()]
    return usual


def usual_steps(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Return repairs that are not distilled and those of the most frequent number of steps, the largest of several.

    Args:
        frame: As ``repaired`` returns it.
    """
    distilled = frame["steps"][frame["steps"] > 0]
    return frame[frame["steps"].isin([0, distilled.mode().max()])]


def repair_by_size(frame: pandas.DataFrame) -> bytes:
    """Return an SVG: accuracy at each step of the repair against parameters kept, a panel for each ranking and device.

    Args:
        frame: As ``repaired`` returns it. Where a ranking was repaired at one size only, there is no curve and no
            panel, unless this is so of all.
    """
    sized = frame.dropna(subset="parameters_kept")  # without a record of the plan there is no size
    every = list(usual_steps(usual_images(sized)).groupby(["dataset", "model", "ranking", "device"], sort=False))
    panels = [(key, part) for key, part in every if part["parameters_kept"].nunique() > 1] or every
    figure, axes = _panels([f"{ranking}\n{model} on {dataset}" for (dataset, model, ranking, _), _ in panels])
    for axis, (_, part) in zip(axes, panels, strict=True):
        _lines(axis, part, "parameters_kept")
        axis.set(xlabel="parameters kept, %")
    return _with_legend(figure)


def repair_by_images(frame: pandas.DataFrame) -> bytes:
    """Return an SVG: accuracy of reconstructed and distilled networks against images, a panel for each size.

    Args:
        frame: As ``repaired`` returns it. Where a ranking and size was repaired on one number of images only, there is
            nothing to compare and no panel, unless this is so of all.
    """
    counts = usual_steps(frame.dropna(subset="parameters_kept")).assign(
        size=lambda part: part["parameters_kept"].round().astype(int)
    )
    every = list(counts.groupby(["dataset", "model", "ranking", "size", "device"], sort=False))
    panels = [(key, part) for key, part in every if part["images"].nunique() > 1] or every
    figure, axes = _panels(
        [f"{ranking}, {size} %\n{model} on {dataset}" for (dataset, model, ranking, size, _), _ in panels]
    )
    for axis, (_, part) in zip(axes, panels, strict=True):
        _lines(axis, part, "images", list(STEPS)[2:])
        axis.set(xlabel="images, without labels")
    return _with_legend(figure)


def _steps(settings: pandas.DataFrame) -> pandas.DataFrame:
    """Return the steps of distillation that each network was given."""
    rows = settings[(settings["stage"] == "reconstruct") & (settings["setting"] == "distill_steps")]
    return rows[[*KEYS, "seed"]].assign(steps=rows["value"].astype(int)).drop_duplicates([*KEYS, "seed"])


def _sizes(values: pandas.DataFrame) -> pandas.DataFrame:
    """Return what each plan leaves, in percent; plans do not depend on the device."""
    cell = ["dataset", "model", "method", "seed"]
    rows = values[values["stage"] == "prune"].drop_duplicates([*cell, "quantity"])
    sizes = rows.pivot(index=cell, columns="quantity", values="value")
    if sizes.empty:
        return pandas.DataFrame(columns=[*cell, "parameters_kept", "flops_kept"])
    ratios = {"parameters_kept": "parameters", "flops_kept": "flops"}
    found = pandas.DataFrame({name: 100 * sizes[what] / sizes[f"dense_{what}"] for name, what in ratios.items()})
    return found.reset_index()


def _rankings(settings: pandas.DataFrame) -> pandas.DataFrame:
    """Return what each network's channels were ranked by, as the records of the prune stage say it, on any device."""
    cell = ["dataset", "model", "method", "seed"]
    rows = settings[settings["stage"] == "prune"]
    if rows.empty:
        return pandas.DataFrame(columns=[*cell, "ranking"])
    wanted = rows.pivot_table(index=[*cell, "curvature"], columns="setting", values="value", aggfunc="first")
    found = []
    for row in wanted.reset_index().drop_duplicates(cell).to_dict("records"):
        curvature = row["curvature"]
        said = [str(row["criterion"]) + (f" ({curvature})" if curvature else "")]
        said += ["× magnitude"] if str(row.get("with_magnitude")) == "True" else []
        said += ["lamp"] if row["normalise"] == "lamp" else []
        said += ["tied"] if row["residual"] == "tied" else []
        found.append({**{name: row[name] for name in cell}, "ranking": " + ".join(said)})
    return pandas.DataFrame(found)


def _panels(titles: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """Return a figure of panels, at most four a row."""
    across = max(1, min(4, len(titles)))  # without a panel an empty picture
    down = math.ceil(max(1, len(titles)) / across)
    figure = Figure(figsize=(1.4 + 3.3 * across, 0.6 + 3.1 * down), layout="constrained")
    axes = list(figure.subplots(down, across, squeeze=False, sharey=True).flat)
    for axis in axes[len(titles) :]:
        axis.set_visible(False)
    for axis, title in zip(axes, titles, strict=False):
        axis.set_title(title, fontsize="medium")
        axis.set(xscale="log")
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.3, which="both")
    axes[0].set_ylabel("test accuracy, %")
    return figure, axes[: len(titles)]


def _lines(axis: Axes, part: pandas.DataFrame, size: str, steps: Sequence[str] = tuple(STEPS)) -> None:
    """Draw one line a step of the repair; the same step has the same look in every panel."""
    for name in steps:
        index = list(STEPS).index(name)
        points = part.dropna(subset=[name]).groupby(size, as_index=False)[[name, f"{name}_std"]].mean()
        if len(points):
            look: dict[str, Any] = {"color": f"C{index}", "marker": "osD^v"[index], "ms": 4, "lw": 1.2, "capsize": 2}
            axis.errorbar(points[size], points[name], points[f"{name}_std"].fillna(0), label=STEPS[name], **look)
    ticks: list[float] = []
    for value in sorted(part[size].round(3).unique()):  # labels of neighbours would lie on each other
        ticks += [value] if not ticks or value > 1.1 * ticks[-1] else []
    axis.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks], fontsize="small")


def _with_legend(figure: Figure) -> bytes:
    """Return the figure as SVG with one legend for all panels, below them."""
    pairs = [pair for axis in figure.axes for pair in zip(*axis.get_legend_handles_labels(), strict=True)]
    found = {str(label): handle for handle, label in pairs}
    ordered = [label for label in STEPS.values() if label in found]
    look: dict[str, Any] = {"loc": "outside lower center", "ncols": min(len(ordered), 1 + len(figure.axes))}
    figure.legend([found[label] for label in ordered], ordered, frameon=False, **look)
    return svg(figure)
