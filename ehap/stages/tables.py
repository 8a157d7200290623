"""Stage tables: all records of a run to the paper's tables."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas

from ehap.artifacts.job import Job
from ehap.results.build import (
    comparison,
    overview,
    pruned_accuracy,
    quantized_accuracy,
    settings_table,
    sizes,
    trace_cost,
)
from ehap.results.collect import collect
from ehap.results.deployment import deployed, deployed_markdown
from ehap.results.families import colours_of, families
from ehap.results.figures import svg
from ehap.results.figures.repair import repair_by_images, repair_by_size
from ehap.results.figures.schemes import accuracy_by_bytes
from ehap.results.figures.sizes import accuracy_by_shares
from ehap.results.latency import timed, timed_markdown
from ehap.results.paired import paired, paired_markdown
from ehap.results.paper import paper_values
from ehap.results.precisions import precisions, precisions_markdown
from ehap.results.render import comparison_markdown, markdown, overview_markdown
from ehap.results.repair import repaired, repaired_markdown
from ehap.runtime.files import write_atomically
from ehap.settings import Tables

ACCURACY_NOTE = (
    "The accuracy that counts is that of the last epoch. The paper picks the epoch by its test accuracy; that number "
    "stands below, labelled as the paper's protocol."
)
BF16_NOTE = (
    "Curvatures with bf16 replace the paper's FP16: on a CPU, double backward in FP16 takes some 80 times as long. "
    "They are not EHAP itself, and may have fewer samples and images: see the cost of the traces."
)
TRACE_NOTE = (
    "The paper's times are for 300 samples and batches of 512, 512 and 256 images on its two GPUs. Compare them only "
    "where ours has as many samples. Peak memory: on a GPU all memory that torch held, on a CPU the memory that the "
    "traces added. A job may have run beside others; for a fair comparison run one job at a time (--cores 1)."
)
SIZE_NOTE = (
    "As deployed: the files as written, float32 weights, or packed integers with their scales. As the paper counts: "
    "with the optimizer's momentum beside the weights, and integers as float32, 4 bytes a number without any header."
)
PAPER_TABLES: tuple[tuple[str, str, Callable[..., pandas.DataFrame], dict[str, str], list[str], bool], ...] = (
    ("pruned_accuracy", "Pruned accuracy", pruned_accuracy, {"cifar10": "I", "cifar100": "II"}, [ACCURACY_NOTE], True),
    ("trace_cost", "Cost of the traces", trace_cost, {"cifar100": "III and IV"}, [TRACE_NOTE], True),
    (
        *("quantized_accuracy", "Quantized accuracy", quantized_accuracy),
        *({"cifar10": "V", "cifar100": "VI"}, [ACCURACY_NOTE], True),
    ),
    ("sizes", "Sizes", sizes, {"cifar10": "X", "cifar100": "XI"}, [SIZE_NOTE], False),
)
"""Name, title, function, numbering in the paper, notes, and whether a note on bf16 belongs to them."""


def run(job: Job[Tables]) -> None:
    """Write every table of the run into the folder of the output ``summary``."""
    folder = job.output("summary").parent
    write_tables(job.input_list("records"), job.input("paper"), job.input("paper_settings"), folder)


def write_tables(records: Sequence[Path], paper: Path, paper_settings: Path, folder: Path) -> None:
    """Write every table as CSV and Markdown, the overview and summary.json into ``folder``.

    Tables of stages that not every run has go into the folder ``further`` beside it.
    """
    values, settings = collect(records)
    bf16 = [BF16_NOTE] if (settings["value"] == "bf16").any() else []
    printed = paper_values(paper)
    for name, title, frame, numbering, notes, with_bf16 in PAPER_TABLES:
        built = frame(values, printed)
        text = markdown(title, built, numbering, [*notes, *(bf16 if with_bf16 else [])])
        _write(folder / name, built, text)
    _write(folder / "settings", settings_table(settings, pandas.read_csv(paper_settings, keep_default_na=False)))
    compared = comparison(values)
    _write(folder / "comparison", compared, comparison_markdown(compared))
    known = families(settings)
    chart = accuracy_by_shares(compared, known, colours_of(values, known))
    write_atomically(folder / "accuracy_by_size.svg", svg(chart))
    pairs = paired(values, settings)
    _write(folder / "paired", pairs, paired_markdown(pairs))
    _write_further(values, settings, folder.with_name("further"))
    whole = overview(values)
    _write(folder / "overview", whole, "\n\n".join([overview_markdown(whole), *bf16]) + "\n")
    write_atomically(folder / "summary.json", (json.dumps(_summary(whole), indent=2) + "\n").encode())


def _write_further(values: pandas.DataFrame, settings: pandas.DataFrame, folder: Path) -> None:
    """Write the tables and pictures of stages that not every run has."""
    there = set(values["stage"])
    if "reconstruct" in there:
        table = repaired(values, settings)
        _write(folder / "training_free", table, repaired_markdown(table))
        write_atomically(folder / "training_free.svg", svg(repair_by_size(table)))
        if table["images"].nunique() > 1:
            write_atomically(folder / "training_free_images.svg", svg(repair_by_images(table)))
    if "deploy" in there:
        table = deployed(values)
        _write(folder / "deployment", table, deployed_markdown(table))
    if "latency" in there:
        table = timed(values, settings)
        _write(folder / "latency", table, timed_markdown(table))
    if values.loc[values["stage"] == "qat", "scheme"].nunique() > 1:
        table = precisions(values, settings)
        _write(folder / "precisions", table, precisions_markdown(table))
        write_atomically(folder / "precisions.svg", svg(accuracy_by_bytes(table)))


def _write(path: Path, frame: pandas.DataFrame, text: str = "") -> None:
    """Write a table as CSV, and its Markdown where there is one; ``path`` has no ending."""
    write_atomically(path.with_suffix(".csv"), frame.to_csv(index=False, float_format="%.10g").encode())
    if text:
        write_atomically(path.with_suffix(".md"), text.encode())


def _summary(whole: pandas.DataFrame) -> dict[str, Any]:
    """Return dataset → model → method → means: the metrics that DVC compares between commits.

    The key of a method that was tested on several devices names the device, too.
    """
    summary: dict[str, Any] = {}
    numbers = [name for name in whole.columns if pandas.api.types.is_numeric_dtype(whole[name])]
    means = [name for name in numbers if not name.endswith("_n")]
    several = whole.duplicated(["dataset", "model", "method"], keep=False)
    for row, named in zip(whole.to_dict("records"), several, strict=True):
        method = f"{row['method']} on {row['device']}" if named else row["method"]
        found = {str(name): round(float(row[name]), 6) for name in means if pandas.notna(row[name])}
        summary.setdefault(row["dataset"], {}).setdefault(row["model"], {})[method] = found
    return summary
