"""Write the dense network as ONNX files, in FP32 and in INT8, to time others beside it."""

from ehap.workflow.script import arguments, execute

args = arguments("checkpoint", writes=("fp32", "int8", "sources"))


def _work() -> None:
    from ehap.stages import deploy_dense  # only now: torchao starts CUDA, which settles what GPU it sees

    deploy_dense.run(args.checkpoint, args.fp32, args.int8, job=args.job, machine=args.machine)


execute(args, _work)
