"""Draw the learning curves of one cell from the histories of its trainings."""

from ehap.artifacts.job import Job
from ehap.settings.names import Order
from ehap.workflow.runner import execute


def _work(job: Job[Order]) -> None:
    from ehap.stages.curves import run  # only now: torchao starts CUDA, which fixes the visible GPUs

    run(job)


execute(_work, settings=Order, inputs="dense finetuned* quantized*", outputs="picture sources")
