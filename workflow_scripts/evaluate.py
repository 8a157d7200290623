"""Measure accuracy and size of one network."""

from ehap.artifacts.job import Job
from ehap.workflow.runner import execute


def _work(job: Job[None]) -> None:
    from ehap.stages.evaluate import run  # only now: torchao starts CUDA, which fixes the visible GPUs

    run(job)


execute(_work, inputs="data weights training", outputs="record")
