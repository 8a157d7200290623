"""Make every table of a run from its records."""

from ehap.settings import Tables
from ehap.workflow.cells import TablesJob, inputs_of_tables
from ehap.workflow.runner import execute


def _work(job: TablesJob) -> None:
    from ehap.stages.tables import run  # only now: torchao starts CUDA, which fixes the visible GPUs

    run(job)


execute(
    _work,
    settings=Tables,
    inputs="paper paper_settings",
    outputs="csv* markdown* picture further* further_markdown* further_pictures* summary sources",
    options="results",
    derived=inputs_of_tables,
)
