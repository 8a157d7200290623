"""Measure one pruned network before it is trained on."""

from ehap.artifacts.job import Job
from ehap.workflow.runner import execute


def _work(job: Job[None]) -> None:
    from ehap.stages.evaluate_unrecovered import run  # only now: torchao starts CUDA, which fixes the visible GPUs

    run(job)


execute(_work, inputs="data pruned", outputs="record")
