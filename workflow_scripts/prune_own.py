"""Prune one network by the scores of a function of the user's."""

from dataclasses import replace

from ehap.settings.prune import OwnCriterion
from ehap.workflow.script import arguments, execute

args = arguments("checkpoint", writes=("plan", "pruned", "record"), settings=OwnCriterion, optional=("data",))


def _work() -> None:
    from ehap.stages import prune  # only now: torchao starts CUDA, which settles what GPU it sees
    from ehap.stages import prune_own as own

    job = replace(args.job, stage="prune")
    prune.run(
        args.checkpoint,
        None,
        args.plan,
        args.pruned,
        args.record,
        job=job,
        settings=args.settings.prune,
        machine=args.machine,
        planning=own.planning(args.data, job, args.settings),
    )


execute(args, _work)
