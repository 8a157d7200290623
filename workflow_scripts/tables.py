"""Make every table of a run from its records."""

from pathlib import Path

from ehap.artifacts.job import Job
from ehap.settings import Tables
from ehap.workflow.cells import record_paths
from ehap.workflow.runner import execute


def _work(job: Job[Tables]) -> None:
    from ehap.stages.tables import run  # only now: torchao starts CUDA, which fixes the visible GPUs

    run(job)


execute(
    _work,
    settings=Tables,
    inputs="paper paper_settings",
    outputs="csv* markdown* picture further* further_markdown* further_pictures* summary sources",
    options="results",
    derived=lambda job: {"records": record_paths(Path(job.option("results")), job.settings)},
)
