"""Stage tables: all records of a run to the paper's tables."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas

import ehap.results as tables
from ehap.artifacts.job import Job
from ehap.runtime.files import write_atomically
from ehap.settings import Tables

ACCURACY_NOTE = (
    "The number that counts is the last epoch's. The paper picks the epoch by its test accuracy; that number stands "
    "below it, labelled as the paper's protocol."
)
BF16_NOTE = (
    "Curvatures with bf16 stand in for the paper's FP16: on a CPU, FP16 double backward is some 80 times slower. "
    "They are not EHAP itself, and may have fewer samples and images: see the cost of the traces."
)
TRACE_NOTE = (
    "The paper's times are for 300 samples and batches of 512, 512 and 256 images on its two GPUs; compare only where "
    "ours has as many samples. Peak memory: on a GPU all that torch held, on a CPU what the traces added. Times are "
    "those of a job that may have run beside others; for a fair comparison run one job at a time (--cores 1)."
)
SIZE_NOTE = (
    "As deployed: the files as written, float32 weights, or packed integers with their scales. As the paper counts: "
    "with the optimizer's momentum beside the weights, and integers as float32, 4 bytes a number without any header."
)


def run(job: Job[Tables]) -> None:
    """Write every table of the run into the folder of the output ``summary``."""
    folder = job.output("summary").parent
    write_tables(job.input_list("records"), job.input("paper"), job.input("paper_settings"), folder)


def write_tables(records: Sequence[Path], paper: Path, paper_settings: Path, folder: Path) -> None:
    """Write every table as CSV and Markdown, the overview and summary.json into ``folder``.

    Tables of stages that not every run has go into the folder ``further`` beside it.
    """
    further = folder.with_name("further")
    values, settings = tables.collect(records)
    printed = tables.paper_values(paper)
    bf16 = [BF16_NOTE] if (settings["value"] == "bf16").any() else []
    accuracy = {"cifar10": "I", "cifar100": "II"}
    for name, title, frame, numbering, notes in (
        ("pruned_accuracy", "Pruned accuracy", tables.pruned_accuracy, accuracy, [ACCURACY_NOTE, *bf16]),
        ("trace_cost", "Cost of the traces", tables.trace_cost, {"cifar100": "III and IV"}, [TRACE_NOTE, *bf16]),
        (
            "quantized_accuracy",
            "Quantized accuracy",
            tables.quantized_accuracy,
            {"cifar10": "V", "cifar100": "VI"},
            [ACCURACY_NOTE, *bf16],
        ),
        ("sizes", "Sizes", tables.sizes, {"cifar10": "X", "cifar100": "XI"}, [SIZE_NOTE]),
    ):
        built = frame(values, printed)
        _write_csv(folder / f"{name}.csv", built)
        write_atomically(folder / f"{name}.md", tables.markdown(title, built, numbering, notes).encode())
    compared = tables.settings_table(settings, pandas.read_csv(paper_settings, keep_default_na=False))
    _write_csv(folder / "settings.csv", compared)
    whole = tables.overview(values)
    _write_csv(folder / "overview.csv", whole)
    compared_methods = tables.comparison(values)
    _write_csv(folder / "comparison.csv", compared_methods)
    write_atomically(folder / "comparison.md", tables.comparison_markdown(compared_methods).encode())
    pairs = tables.paired(values, settings)
    _write_csv(folder / "paired.csv", pairs)
    write_atomically(folder / "paired.md", tables.paired_markdown(pairs).encode())
    write_atomically(folder / "accuracy_by_size.svg", tables.accuracy_by_size(compared_methods))
    if (values["stage"] == "reconstruct").any():
        repaired = tables.repaired(values, settings)
        _write_csv(further / "training_free.csv", repaired)
        write_atomically(further / "training_free.md", tables.repaired_markdown(repaired).encode())
        write_atomically(further / "training_free.svg", tables.repair_by_size(repaired))
        if repaired["images"].nunique() > 1:
            write_atomically(further / "training_free_images.svg", tables.repair_by_images(repaired))
    if (values["stage"] == "deploy").any():
        deployed = tables.deployed(values)
        _write_csv(further / "deployment.csv", deployed)
        write_atomically(further / "deployment.md", tables.deployed_markdown(deployed).encode())
    if (values["stage"] == "latency").any():
        timed = tables.timed(values, settings)
        _write_csv(further / "latency.csv", timed)
        write_atomically(further / "latency.md", tables.timed_markdown(timed).encode())
    if values.loc[values["stage"] == "qat", "scheme"].nunique() > 1:
        compared_schemes = tables.precisions(values, settings)
        _write_csv(further / "precisions.csv", compared_schemes)
        write_atomically(further / "precisions.md", tables.precisions_markdown(compared_schemes).encode())
        write_atomically(further / "precisions.svg", tables.accuracy_by_bytes(compared_schemes))
    text = "\n\n".join([tables.overview_markdown(whole), *bf16])
    write_atomically(folder / "overview.md", (text + "\n").encode())
    write_atomically(folder / "summary.json", (json.dumps(_summary(whole), indent=2) + "\n").encode())


def _write_csv(path: Path, frame: pandas.DataFrame) -> None:
    write_atomically(path, frame.to_csv(index=False, float_format="%.10g").encode())


def _summary(whole: pandas.DataFrame) -> dict[str, Any]:
    """Return dataset → model → method → means: the metrics that DVC compares between commits.

    Where a method has been tested on several devices, its key names the device, too.
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
