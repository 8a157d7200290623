"""The tables of the paper, ours beside its printed numbers, in long form."""

import pandas

from ehap.results.collect import over_seeds
from ehap.results.paper import ORIGINAL, beside_paper

SHARES = ("parameters_kept", "flops_kept")
COMPARED = [
    *("pruned_accuracy", "recalibrated_accuracy", "accuracy"),
    *(*SHARES, "parameters", "flops"),
]


def pruned_accuracy(values: pandas.DataFrame, paper: pandas.DataFrame) -> pandas.DataFrame:
    """Return accuracy before and after pruning and fine-tuning (Tables I, II), with the share of size that is left."""
    rows = _evaluated(values)
    rows = rows[rows["scheme"] == ""]
    wanted = rows["quantity"].isin(["accuracy", "best_accuracy", "parameters_kept", "flops_kept"])
    return beside_paper(over_seeds(rows[wanted]), paper[paper["table"].isin(["I", "II", "X", "XI"])])


def quantized_accuracy(values: pandas.DataFrame, paper: pandas.DataFrame) -> pandas.DataFrame:
    """Return accuracy before pruning, after it, and after quantization (Tables V, VI), and the change."""
    rows = _evaluated(values)
    rows = rows[rows["quantity"].isin(["accuracy", "best_accuracy", "quantization_change"])]
    return beside_paper(over_seeds(rows), paper[paper["table"].isin(["V", "VI"])])


def sizes(values: pandas.DataFrame, paper: pandas.DataFrame) -> pandas.DataFrame:
    """Return bytes of the files as written and as the paper counts, FLOPs, parameters and ratio (Tables X, XI)."""
    rows = _evaluated(values)
    rows = rows[rows["quantity"].isin(["file_size", "published_size", "flops", "parameters", "parameters_kept"])]
    return beside_paper(over_seeds(rows), paper[paper["table"].isin(["X", "XI"])])


def trace_cost(values: pandas.DataFrame, paper: pandas.DataFrame) -> pandas.DataFrame:
    """Return seconds and peak memory of the traces on this device; the paper's on its two devices (Tables III, IV)."""
    rows = over_seeds(values[values["stage"] == "trace"])
    costs = paper[paper["table"].isin(["III", "IV"])]
    columns = ["dataset", "model", "curvature", "quantity"]
    printed = costs.pivot(index=["dataset", "model", "subject", "quantity"], columns="paper_device", values="paper")
    printed = printed.rename(columns=lambda device: f"paper_{device.lower()}").reset_index()
    return rows.merge(printed.rename(columns={"subject": "curvature"}), on=columns, how="left")


def settings_table(settings: pandas.DataFrame, paper: pandas.DataFrame) -> pandas.DataFrame:
    """Return the settings that the records hold beside the paper's (Tables VII to IX); a row for each value of one.

    Args:
        settings: As ``collect`` returns them.
        paper: table, stage, dataset (empty: all), model, setting, value.

    Returns:
        stage, dataset, model, method, scheme, curvature, setting, value, paper, table (both NaN where the paper says
        nothing of it), seeds and device: of the records that have this value, in words.
    """
    keys = ["stage", "dataset", "model", "method", "scheme", "curvature", "setting"]
    text = settings["value"].map(str).rename("text")  # a value may be a list
    alike = settings.groupby([*keys, text], sort=False)
    told = settings.assign(seeds=alike["seed"].transform(_listed), device=alike["device"].transform(_listed))
    ours = told[~told[keys].join(text).duplicated()][[*keys, "value", "seeds", "device"]]
    exact = ours.merge(paper, on=["stage", "dataset", "model", "setting"], how="left", suffixes=("", "_paper"))
    every = paper[paper["dataset"] == ""].drop(columns="dataset")
    joined = ours.merge(every, on=["stage", "model", "setting"], how="left", suffixes=("", "_paper"))
    for column in ("value_paper", "table"):
        joined[column] = joined[column].fillna(exact[column])
    return joined.rename(columns={"value_paper": "paper"})[[*keys, "value", "paper", "table", "seeds", "device"]]


def _listed(items: pandas.Series) -> str:
    return ", ".join(map(str, items.unique()))


def overview(values: pandas.DataFrame) -> pandas.DataFrame:
    """Return one row a network: accuracy dense, pruned and quantized, and its size in relation to the dense one.

    Returns:
        dataset, model, method, device, n, and mean and std (``…_std``) of accuracy, accuracy_<scheme>,
        parameters_kept and flops_kept (percent), and file_size and file_size_<scheme> (bytes). In an unfinished run the
        seeds of an accuracy may differ from n: ``…_n`` is their number.
    """
    rows = _evaluated(values)
    rows = rows[rows["quantity"].isin(["accuracy", "parameters_kept", "flops_kept", "file_size"])]
    rows = rows[(rows["scheme"] == "") | rows["quantity"].isin(["accuracy", "file_size"])]
    rows = rows.assign(column=rows["quantity"] + rows["scheme"].map(lambda scheme: f"_{scheme}" if scheme else ""))
    keys = ["dataset", "model", "method", "device"]
    table = rows.pivot_table(index=keys, columns="column", values="value", aggfunc=["mean", "std"], sort=False)
    names = [(str(pair[0]), str(pair[1])) for pair in table.columns.to_flat_index()]
    found = [name if kind == "mean" else f"{name}_std" for kind, name in names]
    table.columns = pandas.Index(found, dtype="str")
    always = ["accuracy", "accuracy_std", "file_size", *SHARES]  # none where a network is tested in integers alone
    table = table.reindex(columns=list(dict.fromkeys([*found, *always])))
    counts = rows.groupby([*keys, "column"], sort=False).size().unstack(fill_value=0)
    n = counts["accuracy"] if "accuracy" in counts else counts.sum(axis=1) * 0
    others = counts[[name for name in counts if str(name).startswith("accuracy_")]]
    differ = others[[name for name in others if (others[name].ne(0) & others[name].ne(n)).any()]]
    return table.join(n.rename("n")).join(differ.add_suffix("_n")).reset_index()


def comparison(values: pandas.DataFrame) -> pandas.DataFrame:
    """Return one row a pruned network: its accuracy at each step of its repair, and its size.

    Returns:
        dataset, model, method, device, n, and mean and std (``…_std``) over seeds of pruned_accuracy,
        recalibrated_accuracy and accuracy (percent; right after pruning, with BatchNorm recalibrated, and after
        fine-tuning), parameters_kept and flops_kept (percent), parameters and flops. Within a dataset and model,
        networks of one size (to a percent of the parameters) form a group. Groups are sorted by size, the largest
        first; a group by accuracy.
    """
    rows = _evaluated(values)
    rows = rows[(rows["scheme"] == "") & rows["quantity"].isin(COMPARED)]
    rows = pandas.concat([rows, values[values["stage"] == "evaluate_unrecovered"]])
    rows = rows[rows["method"] != ORIGINAL]
    keys = ["dataset", "model", "method", "device"]
    grouped = rows.groupby([*keys, "quantity"], sort=False)["value"].agg(mean="mean", std="std", n="count")
    table = grouped["mean"].unstack().reindex(columns=COMPARED)
    spread = grouped["std"].unstack().reindex(columns=COMPARED).add_suffix("_std")
    counts = grouped["n"].unstack().reindex(columns=["accuracy"])["accuracy"].fillna(0).astype(int).rename("n")
    whole: pandas.DataFrame = table.join(spread).join(counts).reset_index()
    order = ["dataset", "model", "size", "accuracy"]
    sized = whole.assign(size=whole["parameters_kept"].round())
    sized = sized.sort_values(order, ascending=[True, True, False, False], kind="stable", ignore_index=True)
    return sized.drop(columns="size")


def _evaluated(values: pandas.DataFrame) -> pandas.DataFrame:
    """Return the values of the evaluate stage, with each network's ratios to its dense one added.

    Sizes depend neither on the device nor on the seed. So the dense network may have another device or seed.
    Accuracies before and after quantization are compared on one device only.
    """
    rows = values[values["stage"] == "evaluate"]
    added = [rows]
    size = ["dataset", "model", "quantity"]
    dense = rows[rows["method"] == ORIGINAL].drop_duplicates(size)[[*size, "value"]]
    for name, base in (("parameters_kept", "parameters"), ("flops_kept", "flops")):
        part = rows[rows["quantity"] == base].merge(dense, on=size, how="left", suffixes=("", "_dense"))
        ratio = 100 * part["value"] / part.pop("value_dense")
        added.append(part.assign(value=ratio, quantity=name, unit="percent"))
    accuracy = rows[rows["quantity"] == "accuracy"]
    where = ["dataset", "model", "seed", "method", "device"]
    pruned = accuracy[accuracy["scheme"] == ""][[*where, "value"]]
    quantized = accuracy[accuracy["scheme"] != ""].merge(pruned, on=where, how="left", suffixes=("", "_pruned"))
    change = quantized["value"] - quantized.pop("value_pruned")
    added.append(quantized.assign(value=change, quantity="quantization_change", unit="percentage points"))
    return pandas.concat([part for part in added if len(part)] or [rows], ignore_index=True)
