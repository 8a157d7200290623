"""Quantization schemes beside each other: bits, size and accuracy, by calibration or by training."""

from typing import Any

import pandas
from matplotlib.figure import Figure

from ehap.results.curves import svg
from ehap.results.render import by_network

KEYS = ["dataset", "model", "method", "scheme", "device"]
VALUES = {
    "accuracy": ("accuracy", "percent"),
    "change": ("change since fine-tuning", "percentage points"),
    "file_size": ("file", "bytes"),
}
FLOAT_BITS = 32


def precisions(values: pandas.DataFrame, settings: pandas.DataFrame) -> pandas.DataFrame:
    """Return one row a quantized network.

    Args:
        values: As ``collect`` returns them.
        settings: As ``collect`` returns them.

    Returns:
        dataset, model, method, scheme, device, n, weight_bits (the mean over weights), activation_bits, epochs of
        training under the scheme, and mean and std (``…_std``) over seeds of accuracy (percent), change (against the
        same network before, percentage points) and file_size (bytes).
    """
    cell = [*KEYS, "seed"]
    rows = values[(values["stage"] == "evaluate") & values["quantity"].isin(["accuracy", "file_size"])]
    table = rows.pivot_table(index=cell, columns="quantity", values="value", sort=False).reset_index()
    before = table[table["scheme"] == ""].drop(columns=["scheme", "file_size"])
    where = [name for name in cell if name != "scheme"]
    table = table[table["scheme"] != ""].merge(before, on=where, how="left", suffixes=("", "_before"))
    table["change"] = table["accuracy"] - table.pop("accuracy_before")
    table = table.merge(_bits(values, settings), on=cell, how="left")
    grouped = table.groupby(KEYS, sort=False)
    means = grouped[[*VALUES, "weight_bits", "activation_bits", "epochs"]].mean()
    whole: pandas.DataFrame = means.join(grouped[list(VALUES)].std().add_suffix("_std"))
    return whole.join(grouped.size().rename("n")).reset_index()


def precisions_markdown(frame: pandas.DataFrame) -> str:
    """Return the table of schemes as Markdown, a section for each dataset and model."""
    texts = {"weight_bits": "bits of weights", "activation_bits": "of activations", "epochs": "epochs"}
    shown = frame.assign(**{label: [f"{value:.3g}" for value in frame[name]] for name, label in texts.items()})
    note = (
        "32 bits are as many steps of training without quantization: what a scheme of the same epochs gains beyond "
        "that is its own. Bits of weights are the mean over all weights where each layer has its own. Epochs 0: "
        "activation ranges from some images, no training."
    )
    return by_network("Quantization schemes", shown, ["method", "scheme", *texts.values()], VALUES, note)


def accuracy_by_bytes(frame: pandas.DataFrame) -> bytes:
    """Return an SVG: accuracy against the file's size, a panel for each method; trained schemes filled."""
    quantized = frame[frame["weight_bits"] < FLOAT_BITS]
    panels = list(quantized.groupby(["dataset", "model", "method"], sort=False))
    figure = Figure(figsize=(5.2 * len(panels), 4.2), layout="constrained")
    for axis, ((dataset, model, method), part) in zip(
        figure.subplots(1, max(1, len(panels)), squeeze=False)[0], panels, strict=False
    ):
        for row in part.to_dict("records"):
            colour = f"C{int(row['activation_bits']) % 10}"
            look: dict[str, Any] = {"fmt": "o", "capsize": 2, "color": colour}
            look |= {} if row["epochs"] else {"mfc": "none"}
            spread = None if pandas.isna(row["accuracy_std"]) else row["accuracy_std"]
            axis.errorbar(row["file_size"] / 1e3, row["accuracy"], spread, **look)
            axis.annotate(
                row["scheme"],
                (row["file_size"] / 1e3, row["accuracy"]),
                xytext=(5, -12 if row["epochs"] else 6),
                textcoords="offset points",
                fontsize="small",
            )
        axis.set(title=f"{method}\n{model} on {dataset}", xlabel="file, KB (hollow: without training)")
        axis.margins(0.12)
        axis.grid(alpha=0.3)
    figure.axes[0].set_ylabel("test accuracy, %")
    return svg(figure)


def _bits(values: pandas.DataFrame, settings: pandas.DataFrame) -> pandas.DataFrame:
    """Return bits of weights and activations, and epochs, of every quantized network."""
    cell = [*KEYS, "seed"]
    rows = settings[settings["stage"] == "qat"]
    wanted = rows[rows["setting"].isin(["bits", "activation_bits", "epochs"])].drop_duplicates([*cell, "setting"])
    found = wanted.pivot(index=cell, columns="setting", values="value")
    found = found.reindex(columns=["bits", "activation_bits", "epochs"]).reset_index()  # older records have not all
    found["activation_bits"] = found["activation_bits"].where(found["activation_bits"].notna(), found["bits"])
    mixed = values[(values["stage"] == "qat") & (values["quantity"] == "weight_bits")]
    found = found.merge(mixed[[*cell, "value"]].drop_duplicates(cell), on=cell, how="left")
    found["weight_bits"] = found.pop("value").where(lambda bits: bits.notna(), found.pop("bits")).astype(float)
    return found.astype({"activation_bits": float, "epochs": float})
