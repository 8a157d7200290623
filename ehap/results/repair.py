"""The table of pruned networks that were repaired on some images without labels."""

import pandas

from ehap.results.families import families
from ehap.results.paper import ORIGINAL
from ehap.results.render import by_network

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
        - dataset, model, method, device, ranking, images, n
        - steps: of distillation
        - mean and std (``…_std``) over seeds and draws of:

          - the accuracy at each step: percent
          - change: percentage points, the last step less the dense network
          - parameters_kept, flops_kept: percent
          - seconds
          - peak_memory: bytes
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
    table["method"] = table["method"].map(families(settings).pooled)
    grouped = table.groupby([*KEYS, "ranking", "images", "steps"], sort=False)
    found = grouped[MEANS].mean().join(grouped[MEANS].std().add_suffix("_std"))
    whole: pandas.DataFrame = found.join(grouped.size().rename("n")).reset_index()
    order = ["dataset", "model", "parameters_kept", "change"]
    return whole.sort_values(order, ascending=[True, True, False, False], kind="stable", ignore_index=True)


def repaired_markdown(frame: pandas.DataFrame) -> str:
    """Return the table of repaired networks as Markdown, a section for each dataset and model."""
    columns = {
        **{name: (label, "percent") for name, label in STEPS.items()},
        "change": ("change", "percentage points"),
        **{"parameters_kept": ("parameters kept", "percent"), "flops_kept": ("FLOPs kept", "percent")},
        **{"seconds": ("seconds", "s"), "peak_memory": ("peak memory", "memory")},
    }
    note = (
        "Accuracy on all test images, mean ± standard deviation over seeds and draws of images. Change: the last step "
        "against the dense network. Seconds and memory are those of reconstruction and distillation, without the tests "
        "in between; memory is that added to the process, or held on the GPU. BatchNorm is recalibrated on 2,048 "
        "images, whatever number the repair uses."
    )
    whole = frame.astype({"images": int, "steps": int})
    first = ["method", "images", "steps"]
    return by_network("Pruned without training and without labels", whole, first, columns, note, signed=["change"])


def usual_images(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Return the repairs on the most frequent number of images, the largest of several: one picture shows one number.

    Args:
        frame: As ``repaired`` returns it.
    """
    usual: pandas.DataFrame = frame[frame["images"] == frame["images"].mode().max()]
    return usual


def usual_steps(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Return repairs without distillation, and those with the most frequent number of steps; of ties the largest.

    Args:
        frame: As ``repaired`` returns it.
    """
    distilled = frame["steps"][frame["steps"] > 0]
    return frame[frame["steps"].isin([0, distilled.mode().max()])]


def _steps(settings: pandas.DataFrame) -> pandas.DataFrame:
    """Return the steps of distillation that each network was given."""
    rows = settings[(settings["stage"] == "reconstruct") & (settings["setting"] == "distill_steps")]
    return rows[[*KEYS, "seed"]].assign(steps=rows["value"].astype(int)).drop_duplicates([*KEYS, "seed"])


def _sizes(values: pandas.DataFrame) -> pandas.DataFrame:
    """Return the size that each plan leaves, in percent; plans do not depend on the device."""
    cell = ["dataset", "model", "method", "seed"]
    rows = values[values["stage"] == "prune"].drop_duplicates([*cell, "quantity"])
    sizes = rows.pivot(index=cell, columns="quantity", values="value")
    if sizes.empty:
        return pandas.DataFrame(columns=[*cell, "parameters_kept", "flops_kept"])
    ratios = {"parameters_kept": "parameters", "flops_kept": "flops"}
    found = pandas.DataFrame({name: 100 * sizes[what] / sizes[f"dense_{what}"] for name, what in ratios.items()})
    return found.reset_index()


def _rankings(settings: pandas.DataFrame) -> pandas.DataFrame:
    """Return each network's ranking, by the records of its prune stage on any device."""
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
        said += ["lamp"] if row["balance"] == "lamp" else []
        said += ["tied"] if row["residual"] == "tied" else []
        found.append({**{name: row[name] for name in cell}, "ranking": " + ".join(said)})
    return pandas.DataFrame(found)
