"""Make the page of results of a run."""

from ehap.settings import Tables
from ehap.workflow.cells import TablesJob, inputs_of_page
from ehap.workflow.runner import execute


<<<<<<< HEAD
def _work(job: Job[Tables]) -> None:
    from ehap.stages.report import run  # only now: torchao starts CUDA, which fixes the visible GPUs
=======
def _work(job: TablesJob) -> None:
    from ehap.stages.report import run  # only now: torchao starts CUDA, which settles what GPU it sees
>>>>>>> wt-tst

    run(job)


<<<<<<< HEAD
def files(job: Job[Tables]) -> dict[str, list[Path]]:
    """Return the input files of the page; the page names the missing ones."""
    results = Path(job.option("results"))
    return {"records": page_records(results, job.settings), "beside": page_files(results, job.settings)}


=======
>>>>>>> wt-tst
execute(
    _work,
    settings=Tables,
    inputs="paper paper_settings benchmarks* assets*",
    outputs="page sources",
    options="results measurements options",
    derived=inputs_of_page,
    incomplete=True,
)
