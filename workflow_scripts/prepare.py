"""Check a dataset and write it as one file of tensors."""

from ehap.artifacts.job import Job
from ehap.settings import Prepare
from ehap.workflow.runner import execute


def _work(job: Job[Prepare]) -> None:
    from ehap.stages.prepare import run  # only now: torchao starts CUDA, which fixes the visible GPUs

    run(job)


execute(_work, settings=Prepare, outputs="data record")
