"""Measure accuracy and size of one network."""

from ehap.workflow.script import arguments, execute

args = arguments("data", "weights", "training", writes=("record",))


def _work() -> None:
    from ehap.stages import evaluate  # only now: torchao starts CUDA, which settles what GPU it sees

    evaluate.run(args.data, args.weights, args.training, args.record, job=args.job, machine=args.machine)


execute(args, _work)
