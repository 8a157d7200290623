"""Estimate the jobs that are still to do, and their time by existing records. Needs no torch."""

import contextlib
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ehap.results.format import duration
from ehap.results.former import current, current_folder
from ehap.settings import Run
from ehap.settings.names import DENSE, NETWORKS
from ehap.settings.stages import CATALOG, Level
from ehap.workflow.catalog import FOLDERS, stage_of

EXACT_IN_SAMPLES = 4  # the cost of exact traces, in Hessian-vector products
WIDTH = max(map(len, FOLDERS)) + 1  # of the column of stages
SHORT_S = 5.0  # a job of a stage without training that has no record yet


@dataclass(frozen=True)
class Task:
    """A job that is still to do, as the path of its output says."""

    stage: str
    dataset: str = ""
    model: str = ""
    seed: int = 0
    names: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """The method of the job; empty for jobs that all methods share."""
        return self.names[0] if self.names and self.stage != "trace" else ""

    @property
    def folder(self) -> Path:
        """Where its output lies in the folder of a run."""
        cell = (self.dataset, self.model, f"seed{self.seed}") if self.model else (self.dataset,)
        return Path(self.stage, *cell, *self.names)


@dataclass(frozen=True)
class Rate:
    """The speed in a record: seconds on a device for one unit of ``Stage.work``."""

    stage: str
    dataset: str
    model: str
    device: str
    seconds: float


def task_of(path: str) -> Task:
    """Return the job that writes ``results/<run>/<stage>/<dataset>/<model>/seed<seed>/<names…>/<file>``.

    Where files go through a storage, a folder of Snakemake's stands before it.
    """
    parts = Path(path).parts
    stage, *rest = parts[parts.index("results") + 2 : -1]
    if len(rest) < 3:  # noqa: PLR2004 (prepare has a dataset only, tables not even that)
        return Task(stage, rest[0] if rest else "")
    dataset, model, seed, *names = rest
    return Task(stage, dataset, model, int(seed.removeprefix("seed")), tuple(names))


def rates(own: Iterable[Path], others: Iterable[Path] = ()) -> list[Rate]:
    """Return the speeds in the records under ``own``; without any, those under ``others``.

    Files that are no readable records are passed over.
    """
    return _rates(own) or _rates(others)


def _rates(folders: Iterable[Path]) -> list[Rate]:
    found = []
    for path in sorted(path for folder in folders for path in folder.rglob("record.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError):
            found.append(_rate(current(json.loads(path.read_text()))))
    return found


def _rate(record: dict[str, Any]) -> Rate:
    values = record["values"]
    seconds = next((values[name]["value"] for name in ("seconds", "trace_time") if name in values), None)
    stage = next((each.place for each in CATALOG if each.name == record["stage"]), record["stage"])
    each = (record["duration_s"] if seconds is None else seconds) / _units(stage, record["settings"])
    return Rate(stage, record.get("dataset", ""), record.get("model", ""), record["device"], each)


def not_done_elsewhere(tasks: Sequence[Task], others: Iterable[Path]) -> list[Task]:
    """Return the tasks without a record under ``others``."""
    done = {
        current_folder(path.relative_to(folder).parent) for folder in others for path in folder.rglob("record.json")
    }
    return [task for task in tasks if task.folder not in done]


def main_device(known: Sequence[Rate]) -> str:
    """Return the device that most records are of; empty where there is none."""
    devices = [rate.device for rate in known]
    return max(devices, key=devices.count) if devices else ""


def estimate(task: Task, run: Run, known: Sequence[Rate]) -> float | None:
    """Return the seconds that ``task`` should take on the device of ``known``; None where no record is near enough.

    The nearest records count: of the same stage, dataset and model; of another dataset; of another model, by its
    FLOPs. A pruned network without a record counts as the dense one: an upper bound.
    """
    work = _work(task.stage)
    if not work:
        return _median(rate.seconds for rate in known if rate.stage == task.stage) or SHORT_S
    units = _units(task.stage, _settings(task, run))
    stages = (task.stage,) if work == "samples" else (task.stage, "pretrain")  # an epoch is like a repair
    flops = {name: model.gflops for name, model in NETWORKS.items() if model.gflops}
    for stage in stages:
        same = [rate for rate in known if rate.stage == stage]
        for near in (
            [rate.seconds for rate in same if (rate.dataset, rate.model) == (task.dataset, task.model)],
            [rate.seconds for rate in same if rate.model == task.model],
            [
                rate.seconds * flops[task.model] / flops[rate.model]
                for rate in same
                if task.model in flops and rate.model in flops
            ],
        ):
            if near:
                return units * statistics.median(near)
    return None


def summary(tasks: Sequence[Task], run: Run, known: Sequence[Rate]) -> str:
    """Return the jobs to do, stage by stage, with their time one after another."""
    device = main_device(known)
    here = [rate for rate in known if rate.device == device]
    lines, every = [], list[float | None]()
    for stage in FOLDERS:
        of_stage = [task for task in tasks if task.stage == stage]
        if not of_stage:
            continue
        times = [estimate(task, run, here) for task in of_stage]
        every += times
        lines.append(f"  {stage:<{WIDTH}}{len(of_stage):>5}  {together(times):>14}")
    if not lines:
        return "Nothing to do."
    judged = f"judged by {len(here)} records of {device}" if here else "there is no record to judge by yet"
    lines.append(f"  {'all':<{WIDTH}}{len(every):>5}  {together(every):>14}  one job at a time; {judged}")
    return "\n".join(["To do:", *lines])


def rows_to_do(tasks: Sequence[Task], run: Run) -> list[tuple[tuple[str, str, str], list[Task]]]:
    """Return the table rows that are not complete, in the order of the grid: model, dataset, method, all seeds.

    Jobs that several methods share (the dense network, the traces) count for the first row that needs them.
    """
    rows: list[tuple[tuple[str, str, str], list[Task]]] = []
    left = [task for task in tasks if task.model and task.stage != "curves"]  # curves need every row of a cell
    for model in run.grid.models:
        for dataset in run.grid.datasets:
            for method in run.grid.methods:
                wanted = {"", DENSE, method}
                curvature = run.curvature(method)
                row = [
                    task
                    for task in left
                    if (task.dataset, task.model) == (dataset, model)
                    and task.method in wanted
                    and (task.stage != "trace" or task.names == (curvature,))
                ]
                left = [task for task in left if task not in row]
                if row:
                    rows.append(((dataset, model, method), row))
    return rows


def together(times: Sequence[float | None]) -> str:
    """Return the sum of the times in words; ``no record yet`` if one is unknown."""
    known = [time for time in times if time is not None]
    return duration(sum(known)) if len(known) == len(times) else "no record yet"


def _units(stage: str, settings: Any) -> float:
    work = _work(stage)
    if work == "epochs":
        return float(settings["epochs"])
    if work != "samples":
        return 1.0
    exact = settings.get("estimator") == "exact"
    return float(settings["batch_size"] * (EXACT_IN_SAMPLES if exact else settings["samples"]))


def _work(stage: str) -> str:
    return next((each.work for each in CATALOG if each.place == stage), "")


def _settings(task: Task, run: Run) -> dict[str, Any]:
    stage = stage_of(task.stage)
    levels: dict[Level, tuple[str, ...]] = {"curvature": ("curvature",), "scheme": ("method", "scheme")}
    names = dict(zip(levels.get(stage.levels[-1], ("method",)), task.names, strict=False))
    return asdict(run.settings(stage.name, {"dataset": task.dataset, "model": task.model, **names}))


def _median(values: Iterable[float]) -> float | None:
    listed = list(values)
    return statistics.median(listed) if listed else None
