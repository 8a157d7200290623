"""Write the dense network as ONNX files, in FP32 and in INT8, to time others beside it."""

from ehap.artifacts.job import Job
from ehap.workflow.runner import execute


def _work(job: Job[None]) -> None:
    from ehap.stages.deploy_dense import run  # only now: torchao starts CUDA, which fixes the visible GPUs

    run(job)


execute(_work, inputs="checkpoint", outputs="fp32 int8 sources")
