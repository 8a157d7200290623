"""Compute one part of the Hessian traces of every channel; trace.py merges them."""

from ehap.artifacts.job import Job
from ehap.settings import Trace
from ehap.workflow.runner import execute


def _work(job: Job[Trace]) -> None:
    from ehap.stages.trace_part import run  # only now: torchao starts CUDA, which fixes the visible GPUs

    run(job)


execute(_work, settings=Trace, inputs="data checkpoint", outputs="part sources", keep=True)
