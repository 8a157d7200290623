"""Time one deployed network and the dense one in ONNX Runtime, in FP32 and in INT8."""

from ehap.artifacts.job import Job
from ehap.settings import Latency
from ehap.workflow.runner import execute


def _work(job: Job[Latency]) -> None:
    from ehap.stages.latency import run  # only now: torchao starts CUDA, which fixes the visible GPUs

    run(job)


execute(_work, settings=Latency, inputs="dense_fp32 dense_int8 checkpoint onnx deployed", outputs="record")
