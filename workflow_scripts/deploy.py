"""Write one quantized network as an ONNX file and test it in ONNX Runtime."""

from ehap.artifacts.job import Job
from ehap.settings import Deploy
from ehap.workflow.runner import execute


def _work(job: Job[Deploy]) -> None:
    from ehap.stages.deploy import run  # only now: torchao starts CUDA, which fixes the visible GPUs

    run(job)


execute(_work, settings=Deploy, inputs="data weights training", outputs="onnx record")
