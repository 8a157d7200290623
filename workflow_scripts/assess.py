"""Measure one pruned network before it is trained on."""

from ehap.workflow.script import arguments, execute

args = arguments("data", "pruned", writes=("record",))


def _work() -> None:
    from ehap.stages import assess  # only now: torchao starts CUDA, which settles what GPU it sees

    assess.run(args.data, args.pruned, args.record, job=args.job, machine=args.machine)


execute(args, _work)
