"""Checks between the plan and the first job: refuse a run that cannot work, and print the length of one that can."""

import sys
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from ehap.errors import EhapError
from ehap.settings import Run
from ehap.settings.fp16 import check_fp16
from ehap.workflow.cluster import check_paths
from ehap.workflow.forecast import rates, summary, task_of
from ehap.workflow.gpus import local_gpus
from ehap.workflow.internals import is_local, is_slurm
from ehap.workflow.start import note_plan

OF_TRACES = ("trace", "trace_part")


def begin(workflow: Any, run: Run, jobs: Collection[Any]) -> None:
    """Refuse a run that cannot work; note the plan of one that can, and print it.

    Args:
        workflow: Snakemake's object of this name.
        run: The checked configuration.
        jobs: Jobs that Snakemake is about to run.

    Raises:
        SystemExit: Jobs of Slurm do not start in a folder of this name, or traces in FP16 would run on a CPU.
    """
    try:
        _check(workflow, run, jobs)
    except EhapError as error:
        sys.exit(f"error: {error}")
    note_plan(jobs)
    print(plan_of(run, jobs), file=sys.stderr)


def _check(workflow: Any, run: Run, jobs: Iterable[Any]) -> None:
    if is_slurm(workflow):
        check_paths()
    device = run.machine.device
    # On a cluster the jobs themselves know their device.
    if device == "cpu" or (device == "auto" and is_local(workflow) and not local_gpus()):
        for job in jobs:
            if job.rule.name in OF_TRACES:
                names = job.wildcards
                check_fp16(run.trace(names.dataset, names.model, names.curvature), names.curvature, on_cpu=True)


def plan_of(run: Run, jobs: Iterable[Any]) -> str:
    """Return the run's next jobs as text, with their expected time by existing records."""
    tasks = [task_of(job.output[0]) for job in jobs if job.output]
    return summary(tasks, run, rates([Path("results") / run.name], map(Path, run.also_read)))


def grow(unit: int) -> Callable[..., int]:
    """Return a resource of a rule that grows with every attempt: MB of memory, or minutes."""
    return lambda wildcards, attempt: unit * attempt
