"""Train one dense network."""

from ehap.settings import Pretrain
from ehap.workflow.script import arguments, logged

args = arguments("data", "checkpoint", "history", "record", settings=Pretrain, optional=("weights",))
with logged(args):
    from ehap.stages import pretrain  # only now: torchao starts CUDA, which settles what GPU it sees

    pretrain.run(
        args.data,
        args.checkpoint,
        args.history,
        args.record,
        job=args.job,
        settings=args.settings,
        machine=args.machine,
        states=args.states,
        events=args.events,
        weights=args.weights,
    )
