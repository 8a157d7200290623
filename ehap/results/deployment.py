"""The table of quantized networks as engines execute them."""

import pandas

from ehap.results.render import by_network
from ehap.settings.deploy import FURTHER_ENGINES

KEYS = ["dataset", "model", "method", "scheme", "device", "instructions"]
FURTHER = {
    name: {
        f"{name}_accuracy": (f"in {title}", "percent"),
        f"{name}_mismatches": (f"mismatches in {title}", "images"),
    }
    for name, title in FURTHER_ENGINES.items()
}
"""Columns of each further engine."""
VALUES = {
    "simulated_accuracy": ("simulated", "percent"),
    "deployed_accuracy": ("in ONNX Runtime", "percent"),
    "mismatches": ("mismatches", "images"),
    **{name: each for columns in FURTHER.values() for name, each in columns.items()},
    "integer_operators": ("integer operators", "operators"),
    "float_operators": ("float operators", "operators"),
    "bytes_per_parameter": ("packed, bytes a parameter", "bytes/parameter"),
    "packed_size": ("packed file", "bytes"),
    "onnx_size": ("ONNX file", "bytes"),
}
IN_FLOAT = "float_operators."
"""Begins the name of a value that counts one declared operator."""


def deployed(values: pandas.DataFrame) -> pandas.DataFrame:
    """Return one row a quantized network that an engine has executed.

    Args:
        values: As ``collect`` returns them.

    Returns:
        - dataset, model, method, scheme, device, instructions, n
        - declared: names of the float operators; empty where there is none
        - mean and std (``…_std``) over seeds of:

          - simulated_accuracy, deployed_accuracy: percent, the latter in ONNX Runtime
          - mismatches: test images
          - ``<engine>_accuracy``, ``<engine>_mismatches``: for each further engine; NaN if not asked for
          - integer_operators, float_operators: in ONNX Runtime
          - bytes_per_parameter, packed_size, onnx_size: bytes
    """
    rows = values[values["stage"] == "deploy"]
    table = rows.pivot_table(index=[*KEYS, "seed"], columns="quantity", values="value", sort=False)
    table["bytes_per_parameter"] = table["packed_size"] / table["parameters"]
    grouped = table.reindex(columns=list(VALUES)).groupby(KEYS, sort=False)
    found = grouped.mean().join(grouped.std().add_suffix("_std"))
    whole: pandas.DataFrame = found.join(grouped.size().rename("n")).join(_declared(rows)).reset_index()
    return whole.fillna({"declared": ""})


def deployed_markdown(frame: pandas.DataFrame) -> str:
    """Return the table of deployed networks as Markdown, a section for each dataset and model."""
    note = (
        "Accuracy on all test images, mean ± standard deviation over seeds. Mismatches: test images whose answer "
        "differs from the simulated one. ONNX Runtime executes every convolution, sum, pooling and linear layer by an "
        "integer kernel, Inductor every convolution and linear layer. A network that leaves one in floating point is "
        "refused, unless the run declares it. The ONNX file has plain sums and widths padded for the engine; the "
        "packed file has the pruned weights alone."
    )
    first = ["method", "scheme"]
    if (frame["declared"] != "").any():
        frame, first = frame.rename(columns={"declared": "declared in float"}), [*first, "declared in float"]
    if frame["instructions"].nunique() > 1:
        frame, first = frame.rename(columns={"instructions": "instruction sets"}), [*first, "instruction sets"]
    return by_network("Quantized networks as engines execute them", frame, first, VALUES, note)


def _declared(rows: pandas.DataFrame) -> "pandas.Series[str]":
    """Return the names of the operators that each network leaves in floating point."""
    named = rows[rows["quantity"].str.startswith(IN_FLOAT)]
    names = named.assign(declared=named["quantity"].str.removeprefix(IN_FLOAT)).drop_duplicates([*KEYS, "declared"])
    found: pandas.Series[str] = names.groupby(KEYS, sort=False)["declared"].agg(", ".join)
    return found
