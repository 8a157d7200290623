"""Rank channels, plan to the budget, and cut one network down."""

from ehap.settings import Prune
from ehap.stages import prune
from ehap.workflow.script import arguments, logged

args = arguments("checkpoint", "plan", "pruned", "record", settings=Prune, optional=("traces",))
with logged(args):
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
