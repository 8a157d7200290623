"""Prune one network by the scores of a function of the user's."""

from ehap.artifacts.job import Job
from ehap.settings.prune import OwnCriterion
from ehap.workflow.runner import execute


def _work(job: Job[OwnCriterion]) -> None:
    from ehap.stages.prune_own import run  # only now: torchao starts CUDA, which fixes the visible GPUs

    run(job)


execute(_work, settings=OwnCriterion, inputs="checkpoint data?", outputs="plan pruned record", stage="prune")
