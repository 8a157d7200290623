"""Train one pruned network under quantization and pack it as integers."""

from ehap.artifacts.job import Job
from ehap.settings import Qat
from ehap.workflow.runner import execute


def _work(job: Job[Qat]) -> None:
    from ehap.stages.qat import run  # only now: torchao starts CUDA, which fixes the visible GPUs

    run(job)


execute(_work, settings=Qat, inputs="data checkpoint", outputs="weights history record", keep=True)
