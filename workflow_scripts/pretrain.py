"""Train one dense network."""

from ehap.settings import Pretrain
from ehap.workflow.script import arguments, execute

args = arguments("data", writes=("checkpoint", "history", "record"), settings=Pretrain, optional=("weights",))


def _work() -> None:
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


execute(args, _work, keep=True)
