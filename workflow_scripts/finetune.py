"""Train one pruned network on."""

from ehap.artifacts.job import Job
from ehap.settings import Finetune
from ehap.workflow.runner import execute


def _work(job: Job[Finetune]) -> None:
    from ehap.stages.finetune import run  # only now: torchao starts CUDA, which fixes the visible GPUs

    run(job)


execute(_work, settings=Finetune, inputs="data pruned teacher?", outputs="checkpoint history record", keep=True)
