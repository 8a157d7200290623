"""Write one quantized network as an ONNX file and test it in ONNX Runtime."""

from ehap.settings import Deploy
from ehap.workflow.script import arguments, execute

args = arguments("data", "weights", "training", writes=("onnx", "record"), settings=Deploy)


def _work() -> None:
    from ehap.stages import deploy  # only now: torchao starts CUDA, which settles what GPU it sees

    deploy.run(
        args.data,
        args.weights,
        args.training,
        args.onnx,
        args.record,
        job=args.job,
        settings=args.settings,
        machine=args.machine,
    )


execute(args, _work)
