"""Train one dense network."""

from ehap.artifacts.job import Job
from ehap.settings import Pretrain
from ehap.workflow.runner import execute


def _work(job: Job[Pretrain]) -> None:
    from ehap.stages.pretrain import run  # only now: torchao starts CUDA, which fixes the visible GPUs

    run(job)


execute(_work, settings=Pretrain, inputs="data weights?", outputs="checkpoint history record", keep=True)
