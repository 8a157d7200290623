"""Compute the Hessian trace of every channel until the channels that would be kept are stable."""

from ehap.artifacts.job import Job
from ehap.settings import Trace
from ehap.workflow.runner import execute


def _work(job: Job[Trace]) -> None:
    from ehap.stages.trace_until import run  # only now: torchao starts CUDA, which fixes the visible GPUs

    run(job)


execute(_work, settings=Trace, inputs="data checkpoint", outputs="traces record", stage="trace", keep=True)
