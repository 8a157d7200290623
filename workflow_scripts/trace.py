"""Compute the Hessian trace of every channel, or merge the parts of it that several jobs have computed."""

from ehap.artifacts.job import Job
from ehap.settings import Trace
from ehap.workflow.runner import execute
from ehap.workflow.sources import check_made_from


def _work(job: Job[Trace]) -> None:
    from ehap.stages.trace import run  # only now: torchao starts CUDA, which fixes the visible GPUs

    check_made_from(job.input_list("parts"), [job.input("data"), job.input("checkpoint")])
    run(job)


execute(_work, settings=Trace, inputs="data checkpoint parts* notes*", outputs="traces record", keep=True)
