"""Stage report: the page of results, from records, histories, plans and benchmarks."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas
import torch

from ehap.artifacts.job import Job
from ehap.data import DATASETS
from ehap.errors import DataError
from ehap.graph.channels import ChannelGraph, channel_graph
from ehap.models import build_model
from ehap.pruning import Planner
from ehap.records import read_record
from ehap.report import Limit, Material, Plan, page
from ehap.results.build import pruned_accuracy, quantized_accuracy, settings_table, sizes, trace_cost
from ehap.results.collect import collect
from ehap.results.deployment import deployed
from ehap.results.former import current
from ehap.results.latency import timed
from ehap.results.order import TRAININGS
from ehap.results.paper import paper_values
from ehap.results.precisions import precisions
from ehap.results.repair import repaired, usual_images, usual_steps
from ehap.runtime.device import slug
from ehap.runtime.files import write_atomically
from ehap.settings import Tables
from ehap.settings.budget import Budget, Ranking

HISTORY = ("epoch", "train_accuracy", "test_accuracy")
CELL = ("dataset", "model", "seed", "method", "scheme", "stage", "device")
TRACE_COLUMNS = (
    "model",
    "classes",
    "batch",
    "contender",
    "seconds",
    "peak_memory_mb",
    "samples_run",
    "spearman",
    "overlap",
)
LATENCY_COLUMNS = (
    "model",
    "batch",
    "engine",
    "network",
    "precision",
    "threads",
    "weights",
    "latency_ms",
    "executed_parameters",
    "kept_parameters",
)
BENCHES = ("bench_trace*.csv", "bench_latency*.csv")
LIMIT_MODEL = "resnet20"


def run(job: Job[Tables]) -> None:
    """Write the page of results of a run as the output ``page``.

    The input ``records`` has all that the run makes; some may be missing. The options are ``results``, the folder of
    the run; ``measurements``, the folder of benchmarks; and ``options``, of the commands that the page prints.
    """
    results = Path(job.option("results"))
    inputs = job.input("paper"), job.input("paper_settings"), Path(job.option("measurements"))
    records, target = job.input_list("records"), job.output("page")
    write_page(results, records, *inputs, target, job.settings, job.option("options"), results.name)


def write_page(
    results: Path,
    records: Sequence[Path],
    paper: Path,
    paper_settings: Path,
    measurements: Path,
    target: Path,
    settings: Tables,
    options: str,
    name: str,
) -> None:
    """Write the page of a run as one HTML file, from the records that exist; see ``gathered``."""
    material = gathered(results, records, paper, paper_settings, measurements, settings, options, name)
    write_atomically(target, page(material).encode())


def gathered(
    results: Path,
    records: Sequence[Path],
    paper: Path,
    paper_settings: Path,
    measurements: Path,
    settings: Tables,
    options: str,
    name: str,
) -> Material:
    """Read and check all data of the page.

    Args:
        results: The folder of the run.
        records: All records of the run, below its folder, and of also_read; some may not exist yet.
        paper: The paper's printed numbers.
        paper_settings: Its settings.
        measurements: The folder of benchmarks, one below it a device.
        settings: Datasets, models, seeds and methods of the run.
        options: Options of a Snakemake command that choose the run's configuration; they follow its targets.
        name: Name of the run.

    Raises:
        DataError: A record, history, plan or benchmark is damaged; the message names it.
    """
    there = [path for path in records if path.exists()]
    read = {path: _record(path) for path in there}
    values, found = collect(there)
    printed = paper_values(paper)
    printed_settings = pandas.read_csv(paper_settings, keep_default_na=False)
    return Material(
        name=name,
        commit=_commit(),
        options=options,
        seeds=settings.seeds,
        datasets=settings.datasets,
        models=settings.models,
        records=[(str(path), record) for path, record in read.items()],
        missing=_missing(f"results/{name}", [path.relative_to(results) for path in records if path not in read]),
        values=values,
        settings=found,
        frames=_frames(values, found, printed, printed_settings),
        histories=_histories(read),
        plans=_plans(read),
        limits=_limits(),
        printed=printed,
        printed_raw=pandas.read_csv(paper, keep_default_na=False, na_values={"value": [""]}),
        printed_settings=printed_settings,
        benches=_benches(measurements, read.values()),
    )


def _frames(
    values: pandas.DataFrame, settings: pandas.DataFrame, printed: pandas.DataFrame, printed_settings: pandas.DataFrame
) -> dict[str, pandas.DataFrame]:
    """Return every table of the page by its name; stages without a record have none."""
    frames = {
        "pruned_accuracy": pruned_accuracy(values, printed),
        "trace_cost": trace_cost(values, printed),
        "quantized_accuracy": quantized_accuracy(values, printed),
        "sizes": sizes(values, printed),
        "settings": settings_table(settings, printed_settings),
    }
    there = set(values["stage"])
    if "reconstruct" in there:
        frames["repaired"] = repaired(values, settings)
        frames["repaired_by_size"] = usual_steps(usual_images(frames["repaired"]))
        frames["repaired_by_images"] = usual_steps(frames["repaired"])
    if "qat" in there:
        frames["precisions"] = precisions(values, settings)
    if "deploy" in there:
        frames["deployed"] = deployed(values)
    if "latency" in there:
        frames["timed"] = timed(values, settings)
    return frames


def _record(path: Path) -> dict[str, Any]:
    """Read one record and check the fields that the page needs."""
    record = read_record(path)
    values = record.get("values") if isinstance(record, dict) else None
    whole = isinstance(values, dict) and all(
        isinstance(item, dict) and {"value", "unit"} <= set(item) for item in values.values()
    )
    if not whole or not isinstance(record.get("settings"), dict) or "stage" not in record:
        raise DataError(
            f"{path}: expected a record with stage, values (each with value and unit) and settings; delete it and run "
            "the workflow again to rebuild it."
        )
    return current(record)


def _missing(folder: str, paths: Sequence[Path]) -> dict[str, list[str]]:
    """Return stage to its missing files, as the workflow names them."""
    found: dict[str, list[str]] = {}
    for path in paths:
        found.setdefault(path.parts[0], []).append(f"{folder}/{path.as_posix()}")
    return found


def _histories(read: Mapping[Path, dict[str, Any]]) -> pandas.DataFrame:
    """Return the epochs of every training that has a history beside its record."""
    parts = []
    for path, record in read.items():
        file = path.with_name("history.csv")
        if record["stage"] not in TRAININGS or not file.exists():
            continue
        try:
            history = pandas.read_csv(file)[list(HISTORY)]
        except (ValueError, KeyError) as error:
            raise DataError(f"{file}: expected a history with {', '.join(HISTORY)} ({error}).") from None
        if len(history):
            parts.append(history.assign(**{key: record.get(key, "") for key in CELL}))
    return pandas.concat(parts, ignore_index=True) if parts else pandas.DataFrame(columns=[*HISTORY, *CELL])


def _plans(read: Mapping[Path, dict[str, Any]]) -> list[Plan]:
    """Return the kept channels of every plan, and the order of its unions in the published code."""
    graphs: dict[tuple[str, str], ChannelGraph] = {}
    plans = []
    for path, record in read.items():
        file = path.with_name("plan.json")
        if record["stage"] != "prune" or not file.exists():
            continue
        dataset, model = record["dataset"], record["model"]
        if (dataset, model) not in graphs:
            graphs[dataset, model] = channel_graph(build_model(model, DATASETS[dataset].classes))
        graph = graphs[dataset, model]
        try:
            plan = json.loads(file.read_text())
            kept, widths = plan["kept"], graph.widths()
            sums = _unions(graph, kept)
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise DataError(f"{file}: expected the plan of a {model} ({error!r}); run the workflow again.") from None
        plans.append(
            Plan(
                dataset=dataset,
                model=model,
                seed=record["seed"],
                method=record["method"],
                device=str(record.get("device", "")),
                kept={layer: len(kept[layer]) for layer in widths},
                widths=widths,
                unions=len(sums),
                union_channels=sum(len(channels) for channels in sums),
                out_of_order=sum(
                    one != other for channels in sums for one, other in zip(channels, sorted(channels), strict=True)
                ),
            )
        )
    return plans


def _unions(graph: ChannelGraph, kept: Mapping[str, Sequence[int]]) -> list[tuple[int, ...]]:
    """Return the channels of each residual sum of unlike sides, in the order of a set, as in the published code."""
    carried = graph.carried(kept)
    sides = [[carried[source] for source in step.sources] for step in graph.steps if step.kind == "add"]
    return [tuple(set(left + right)) for left, right in sides if left != right]


def _limits() -> list[Limit]:
    """Return the channels that our rule and the published one leave of layers at their limit.

    The last channel of each layer is the best. The threshold lies among the scores of the final layer; all other
    channels are below it.
    """
    info = DATASETS["cifar10"]
    network = build_model(LIMIT_MODEL, info.classes, seed=0)
    widths = channel_graph(network).widths()
    final = list(widths)[-1]
    scores = {layer: torch.arange(width) + (1000.0 if layer == final else 1.0) for layer, width in widths.items()}
    ratio = 1 - widths[final] / 2 / sum(widths.values())
    planner = Planner(network, info.input_shape)
    ours, published = (
        planner.kept(scores, Budget(prune_ratio=ratio), ranking=Ranking(rule=rule))
        for rule in ("exact", "as_published")
    )
    first = {width: layer for layer, width in reversed(widths.items()) if layer != final}
    return [Limit(width, ours[layer], published[layer]) for width, layer in sorted(first.items())]


def _benches(measurements: Path, read: Any) -> dict[str, pandas.DataFrame]:
    """Return the benchmarks of the devices that the records name."""
    devices = sorted({slug(str(record.get("device", ""))) for record in read} - {""})
    files = [file for device in devices for kind in BENCHES for file in sorted((measurements / device).glob(kind))]
    return {str(file): _bench(file) for file in files}


def _bench(file: Path) -> pandas.DataFrame:
    """Read one benchmark."""
    try:
        frame = pandas.read_csv(file, dtype={"instructions": str, "exact_sums": str})
    except ValueError as error:
        raise DataError(f"{file}: expected a benchmark as CSV ({error}).") from None
    wanted = TRACE_COLUMNS if file.name.startswith("bench_trace") else LATENCY_COLUMNS
    absent = [column for column in wanted if column not in frame]
    if absent:
        raise DataError(f"{file}: expected the columns {', '.join(wanted)}, but {', '.join(absent)} is not there.")
    return frame.fillna({"instructions": "", "exact_sums": ""})  # a processor without any that counts; sums of floats


def _commit() -> str:
    """Return the commit of the project; asked when the page is made, so that a new one reruns nothing."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "none: this folder is no git repository"
    commit = done.stdout.strip()
    return commit.replace("-dirty", ", with changes that are not committed")
