"""Make the page of results of a run."""

from pathlib import Path

from ehap.artifacts.job import Job
from ehap.settings import Tables
from ehap.workflow.cells import page_files, page_records
from ehap.workflow.runner import execute


def _work(job: Job[Tables]) -> None:
    from ehap.stages.report import run  # only now: torchao starts CUDA, which fixes the visible GPUs

    run(job)


def files(job: Job[Tables]) -> dict[str, list[Path]]:
    """Return the input files of the page; the page names the missing ones."""
    results = Path(job.option("results"))
    return {"records": page_records(results, job.settings), "beside": page_files(results, job.settings)}


execute(
    _work,
    settings=Tables,
    inputs="paper paper_settings benchmarks* assets*",
    outputs="page sources",
    options="results measurements options",
    derived=files,
    incomplete=True,
)
