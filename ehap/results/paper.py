"""The numbers that the paper prints, in our words."""

from pathlib import Path

import pandas

ORIGINAL, HAP, EHAP = "dense", "hap", "ehap"
QUANTIZED = "qat8"
KB = 1024.0
"""Bytes. That the paper's KB are these shows in its sizes: its checkpoints (parameters, BatchNorm statistics, momentum,
saved by torch) have 1,024 × what it prints, to within 0.5 %; 182,590,000 bytes would not even hold parameters and the
momentum of a WRN-28-8."""

# Paper's quantity: (our method, scheme, quantity, factor to our unit).
# Tables V and VI print the HAP column of Tables I and II as "pruned", so HAP's network is what feeds QAT there; which
# of the two Tables X and XI measured is not said, HAP is taken.
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
    """Add paper, paper_spread, difference and verdict to rows of ours, where the cell exists in the paper.

    The paper picks the epoch by its test accuracy, so its accuracies stand beside our ``best_accuracy`` too; its file
    sizes hold momentum, and integers as float32, so they stand beside our ``published_size`` too. verdict:
    ``within`` when the difference is at most the root of both squared spreads, else ``above`` or ``below``; empty
    where the paper prints no spread, or we have a single seed.
    """
    also = {"accuracy": "best_accuracy", "file_size": "published_size"}
    protocol = paper[paper["quantity"].isin(also)].replace({"quantity": also})
    columns = ["dataset", "model", subject, "scheme", "quantity"]
    unique = pandas.concat([paper, protocol]).rename(columns={"subject": subject}).drop_duplicates(columns)
    joined = ours.merge(unique[[*columns, "paper", "paper_spread"]], on=columns, how="left")
    joined["difference"] = joined["mean"] - joined["paper"]
    spread = (joined["std"] ** 2 + joined["paper_spread"] ** 2) ** 0.5
    joined["verdict"] = ""
    joined.loc[joined["difference"].abs() <= spread, "verdict"] = "within"
    joined.loc[joined["difference"] > spread, "verdict"] = "above"
    joined.loc[joined["difference"] < -spread, "verdict"] = "below"
    return joined
