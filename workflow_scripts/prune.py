"""Rank channels, plan to the budget, and cut one network down."""

from ehap.artifacts.job import Job
from ehap.settings import Prune
from ehap.workflow.runner import execute


def _work(job: Job[Prune]) -> None:
    from ehap.stages.prune import run  # only now: torchao starts CUDA, which fixes the visible GPUs

    run(job)


execute(_work, settings=Prune, inputs="checkpoint traces?", outputs="plan pruned record")
