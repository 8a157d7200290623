"""Quantization schemes beside each other: bits, size and accuracy, by calibration or by training."""

import pandas

from ehap.results.render import by_network

KEYS = ["dataset", "model", "method", "scheme", "device"]
VALUES = {
    "accuracy": ("accuracy", "percent"),
    "change": ("change since fine-tuning", "percentage points"),
    "file_size": ("file", "bytes"),
}


def precisions(values: pandas.DataFrame, settings: pandas.DataFrame) -> pandas.DataFrame:
    """Return one row a quantized network.

    Args:
        values: As ``collect`` returns them.
        settings: As ``collect`` returns them.

    Returns:
        - dataset, model, method, scheme, device, n
        - weight_bits: mean over the weights
        - activation_bits
        - epochs: of training under the scheme
        - mean and std (``…_std``) over seeds of:

          - accuracy: percent
          - change: percentage points, against the same network before this scheme
          - file_size: bytes
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
        "Schemes of 32 bits train for as many steps without quantization, to compare with. Bits of weights: the mean "
        "over all weights where each layer has its own. Epochs 0: activation ranges come from some images, without "
        "training."
    )
    return by_network("Quantization schemes", shown, ["method", "scheme", *texts.values()], VALUES, note)


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
