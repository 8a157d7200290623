"""Prune one network in several rounds, with the scores of what is left computed anew in each."""

from dataclasses import replace

from ehap.settings.prune import Rounds
from ehap.workflow.script import arguments, execute

args = arguments("data", "checkpoint", "traces", writes=("plan", "pruned", "record"), settings=Rounds)


def _work() -> None:
    from ehap.stages import (
        prune,
    )  # only now: torchao starts CUDA, which settles what GPU it sees
    from ehap.stages import (
        prune_rounds as rounds,
    )

    job = replace(args.job, stage="prune")
    prune.run(
        args.checkpoint,
        args.traces,
        args.plan,
        args.pruned,
        args.record,
        job=job,
        settings=args.settings.prune,
        machine=args.machine,
        planning=rounds.planning(
            args.data, [args.checkpoint, args.traces], job, args.settings, args.machine, args.states
        ),
    )


execute(args, _work, keep=True)
