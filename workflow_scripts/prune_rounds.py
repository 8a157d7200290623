"""Prune one network in several rounds; each scores the remaining channels anew."""

from ehap.artifacts.job import Job
from ehap.settings.prune import Rounds
from ehap.workflow.runner import execute


def _work(job: Job[Rounds]) -> None:
    from ehap.stages.prune_rounds import run  # only now: torchao starts CUDA, which fixes the visible GPUs

    run(job)


execute(_work, settings=Rounds, inputs="data checkpoint traces", outputs="plan pruned record", stage="prune", keep=True)
