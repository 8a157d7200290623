"""Draw which share of every layer the methods of one cell keep."""

from ehap.artifacts.job import Job
from ehap.settings.names import Order
from ehap.workflow.runner import execute


def _work(job: Job[Order]) -> None:
    from ehap.stages.shapes import run  # only now: torchao starts CUDA, which fixes the visible GPUs

    run(job)


execute(_work, settings=Order, inputs="dense plans*", outputs="picture sources")
