"""The table of latencies: dense and pruned networks in FP32 and INT8, beside their accuracy."""

import pandas

from ehap.records import EXACT_SUMS
from ehap.results.render import by_network

KEYS = ["dataset", "model", "method", "scheme", "device", "instructions", "exact_sums", "batch"]
NETWORKS = ("dense_FP32", "dense_INT8", "pruned_FP32", "pruned_INT8")
TIME = "latency_"
"""Begins the name of a value in milliseconds; number of images and network follow."""
SLOWER = 0.995
"""Times as fast below which a network is called slower."""
VALUES = {
    **{name: (name.replace("_", " "), "ms") for name in NETWORKS},
    "over_dense_FP32": ("times as fast as dense FP32", "×"),
    "over_dense_INT8": ("as dense INT8", "×"),
    "over_pruned_FP32": ("as pruned FP32", "×"),
    "dense_accuracy": ("accuracy dense", "percent"),
    "accuracy": ("of pruned INT8", "percent"),
}


def timed(values: pandas.DataFrame, settings: pandas.DataFrame) -> pandas.DataFrame:
    """Return one row a deployed network and number of images.

    Args:
        values: As ``collect`` returns them.
        settings: The same.

    Returns:
        - dataset, model, method, scheme, device, instructions, batch, threads, n
        - exact_sums: one of EXACT_SUMS; empty in records without it
        - slower_than: the other networks that are faster than pruned INT8; empty: none
        - mean and std (``…_std``) over seeds of:

          - the time of each of NETWORKS: milliseconds
          - the speed of pruned INT8 against each of the others: a ratio, above 1 where pruned INT8 is faster
          - dense_accuracy: percent, in floating point
          - accuracy: percent, as ONNX Runtime executes the network
    """
    cell = [*KEYS[:-2], "seed"]
    rows = times(values)
    table = rows.pivot_table(index=[*cell, "batch"], columns="network", values="value", sort=False).reset_index()
    for name in NETWORKS[:-1]:
        table[f"over_{name}"] = table[name] / table["pruned_INT8"]
    network = [name for name in cell if name != "instructions"]
    table = table.merge(_accuracy(values, "deploy", "deployed_accuracy", "accuracy", network), on=network, how="left")
    dense = values[values["method"] == "dense"]
    where = ["dataset", "model", "seed"]
    table = table.merge(_accuracy(dense, "evaluate", "accuracy", "dense_accuracy", where), on=where, how="left")
    table = table.merge(_threads(settings, cell), on=cell, how="left")
    table = table.merge(_exact_sums(values, cell), on=cell, how="left")
    table["exact_sums"] = table["exact_sums"].astype(object).fillna("")  # records that do not say it
    grouped = table.groupby([*KEYS, "threads"], sort=False)
    found = grouped[list(VALUES)].mean().join(grouped[list(VALUES)].std().add_suffix("_std"))
    whole: pandas.DataFrame = found.join(grouped.size().rename("n")).reset_index()
    others = {name: name.replace("_", " ") for name in NETWORKS[:-1]}
    whole["slower_than"] = [
        ", ".join(label for name, label in others.items() if row[f"over_{name}"] < SLOWER)
        for row in whole.to_dict("records")
    ]
    return whole


def times(values: pandas.DataFrame) -> pandas.DataFrame:
    """Return the rows of the times that the stage has measured, with batch and network of each."""
    rows = values[(values["stage"] == "latency") & values["quantity"].str.startswith(TIME)]
    named = [str(quantity).removeprefix(TIME).partition(".") for quantity in rows["quantity"]]
    return rows.assign(batch=[int(batch) for batch, _, _ in named], network=[network for _, _, network in named])


def timed_markdown(frame: pandas.DataFrame) -> str:
    """Return the table of latencies as Markdown, a section for each dataset and model."""
    note = (
        "Milliseconds of a call in ONNX Runtime: medians of rounds in which the four networks take turns, mean ± "
        "standard deviation over seeds. Pruned networks have plain sums and widths padded for the engine, in FP32 and "
        "INT8. Below 1 ×, pruned INT8 is slower than the other network. Sums of 8-bit products are exact: in a plain "
        "session, or by a session's option where the processor needs it."
    )
    shown = frame.assign(slower_than=frame["slower_than"].replace("", "none"))
    shown = shown.rename(columns={"slower_than": "slower than", "batch": "images", "instructions": "instruction sets"})
    shown = shown.rename(columns={"exact_sums": "exact sums"})
    first = ["method", "scheme", "images", "threads", "slower than", "instruction sets"]
    if (shown["exact sums"] != "").any():
        first.append("exact sums")
    return by_network("Latency", shown, first, VALUES, note)


def _accuracy(values: pandas.DataFrame, stage: str, quantity: str, name: str, on: list[str]) -> pandas.DataFrame:
    rows = values[(values["stage"] == stage) & (values["quantity"] == quantity)].drop_duplicates(on)
    return rows[[*on, "value"]].rename(columns={"value": name})


def _exact_sums(values: pandas.DataFrame, on: list[str]) -> pandas.DataFrame:
    """Return how the sessions of each record had exact sums, in words."""
    rows = values[(values["stage"] == "latency") & (values["quantity"] == "exact_sums_option")].drop_duplicates(on)
    return rows[on].assign(exact_sums=[EXACT_SUMS[int(value)] for value in rows["value"]])


def _threads(settings: pandas.DataFrame, on: list[str]) -> pandas.DataFrame:
    rows = settings[(settings["stage"] == "latency") & (settings["setting"] == "threads")].drop_duplicates(on)
    return rows[[*on, "value"]].rename(columns={"value": "threads"})
