"""Rank channels, plan to the budget, and cut one network down."""

from ehap.settings import Prune
from ehap.workflow.script import arguments, execute

args = arguments("checkpoint", writes=("plan", "pruned", "record"), settings=Prune, optional=("traces",))


def _work() -> None:
    from ehap.stages import prune  # only now: torchao starts CUDA, which settles what GPU it sees

    prune.run(
        args.checkpoint,
        args.traces,
        args.plan,
        args.pruned,
        args.record,
        job=args.job,
        settings=args.settings,
        machine=args.machine,
    )


execute(args, _work)
