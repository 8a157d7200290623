"""Make the page of results of a run."""

from ehap.settings import Tables
from ehap.workflow.cells import TablesJob, inputs_of_page
from ehap.workflow.runner import execute


def _work(job: TablesJob) -> None:
    from ehap.stages.report import run  # only now: torchao starts CUDA, which fixes the visible GPUs

    run(job)


execute(
    _work,
    settings=Tables,
    inputs="paper paper_settings benchmarks* assets*",
    outputs="page sources",
    options="results measurements options",
    derived=inputs_of_page,
    incomplete=True,
)
