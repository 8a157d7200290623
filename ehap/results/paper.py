"""The numbers that the paper prints, in our words."""

from pathlib import Path

import pandas

from ehap.results.verdict import verdict

ORIGINAL, HAP, EHAP = "dense", "hap", "ehap"
QUANTIZED = "qat8"
KB = 1024.0
"""Bytes of one KB in the paper. Its sizes show it: checkpoints (parameters, BatchNorm statistics and momentum, saved by
torch) have 1,024 times the printed number, to within 0.5 %. 182,590,000 bytes would not even hold the parameters and
momentum of a WRN-28-8."""

# Paper's quantity: (our method, scheme, quantity, factor to our unit).
# Tables V and VI print the HAP column of Tables I and II as "pruned": QAT starts from HAP's network there. Tables X and
# XI do not say which of the two they measured; HAP is taken.
MEANING = {
    "accuracy_original": (ORIGINAL, "", "accuracy", 1.0),
    "accuracy_pruned_hap": (HAP, "", "accuracy", 1.0),
    "accuracy_pruned_ehap": (EHAP, "", "accuracy", 1.0),
    "accuracy_pruned": (HAP, "", "accuracy", 1.0),
    "accuracy_quantized": (HAP, QUANTIZED, "accuracy", 1.0),
    "file_size_original": (ORIGINAL, "", "file_size", KB),
    "file_size_pruned": (HAP, "", "file_size", KB),
    "file_size_quantized": (HAP, QUANTIZED, "file_size", KB),
    "flops_original": (ORIGINAL, "", "flops", 1e9),
    "flops_pruned": (HAP, "", "flops", 1e9),
    "parameters_kept": (HAP, "", "parameters_kept", 1.0),
    "trace_time_hap": ("hutchinson-fp32", "", "trace_time", 1.0),
    "trace_time_ehap": ("hutchinson-fp16", "", "trace_time", 1.0),
    "trace_memory_hap": ("hutchinson-fp32", "", "peak_memory", 1e9),
    "trace_memory_ehap": ("hutchinson-fp16", "", "peak_memory", 1e9),
}
"""For trace costs the first entry is the curvature instead of the method."""


def paper_values(path: Path) -> pandas.DataFrame:
    """Read the paper's printed numbers.

    Returns:
        table, dataset, model, subject (method or curvature), scheme, quantity, paper, paper_spread, paper_device.
    """
    printed = pandas.read_csv(path, keep_default_na=False, na_values={"value": [""], "spread": [""]})
    printed = printed[printed["quantity"].isin(MEANING)]
    meaning = printed["quantity"].map(MEANING)
    return pandas.DataFrame(
        {
            "table": printed["table"],
            "dataset": printed["dataset"],
            "model": printed["model"],
            "subject": meaning.str[0],
            "scheme": meaning.str[1],
            "quantity": meaning.str[2],
            "paper": printed["value"] * meaning.str[3],
            "paper_spread": printed["spread"] * meaning.str[3],
            "paper_device": printed["device"],
        }
    )


def beside_paper(ours: pandas.DataFrame, paper: pandas.DataFrame, subject: str = "method") -> pandas.DataFrame:
    """Add paper, paper_spread, difference and verdict to rows of ours, where the paper has the cell.

    The paper picks the epoch by its test accuracy, so its accuracies stand beside our ``best_accuracy``, too. Its file
    sizes hold momentum, and integers as float32, so they stand beside our ``published_size``, too.
    """
    also = {"accuracy": "best_accuracy", "file_size": "published_size"}
    protocol = paper[paper["quantity"].isin(also)].replace({"quantity": also})
    columns = ["dataset", "model", subject, "scheme", "quantity"]
    unique = pandas.concat([paper, protocol]).rename(columns={"subject": subject}).drop_duplicates(columns)
    joined = ours.merge(unique[[*columns, "paper", "paper_spread"]], on=columns, how="left")
    joined["difference"] = joined["mean"] - joined["paper"]
    judged = zip(joined["difference"], joined["std"], joined["paper_spread"], strict=True)
    joined["verdict"] = pandas.Series([verdict(*row) for row in judged], index=joined.index, dtype="str")
    return joined
