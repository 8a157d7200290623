"""Draw which share of every layer the methods of one cell keep."""

from ehap.settings.names import Order
from ehap.workflow.script import arguments, execute

args = arguments("dense", writes=("picture", "sources"), settings=Order, several=("plans",))


def _work() -> None:
    from ehap.stages import curves

    curves.run_shapes(args.plans, args.dense, args.picture, args.job.title())


execute(args, _work)
