"""Measure one pruned network before it is trained on."""

from ehap.workflow.script import arguments, execute

args = arguments("data", "pruned", writes=("record",))


def _work() -> None:
    from ehap.stages import evaluate_unrecovered  # only now: torchao starts CUDA, which settles what GPU it sees

    evaluate_unrecovered.run(args.data, args.pruned, args.record, job=args.job, machine=args.machine)


execute(args, _work)
