"""Time one deployed network and the dense one in ONNX Runtime, in FP32 and in INT8."""

from ehap.settings import Latency
from ehap.workflow.script import arguments, execute

args = arguments("dense_fp32", "dense_int8", "checkpoint", "onnx", "deployed", writes=("record",), settings=Latency)


def _work() -> None:
    from ehap.stages import latency  # only now: torchao starts CUDA, which settles what GPU it sees

    latency.run(
        args.dense_fp32,
        args.dense_int8,
        args.checkpoint,
        args.onnx,
        args.deployed,
        args.record,
        job=args.job,
        settings=args.settings,
        machine=args.machine,
    )


execute(args, _work)
