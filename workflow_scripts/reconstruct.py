"""Bring one pruned network near to the dense one on some images, without labels."""

from ehap.artifacts.job import Job
from ehap.settings import Reconstruct
from ehap.workflow.runner import execute


def _work(job: Job[Reconstruct]) -> None:
    from ehap.stages.reconstruct import run  # only now: torchao starts CUDA, which fixes the visible GPUs

    run(job)


execute(_work, settings=Reconstruct, inputs="data teacher pruned", outputs="checkpoint history record", keep=True)
