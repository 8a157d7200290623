"""Train one pruned network under quantization and pack it as integers."""

from ehap.settings import Qat
from ehap.workflow.script import arguments, execute

args = arguments("data", "checkpoint", writes=("weights", "history", "record"), settings=Qat)


def _work() -> None:
    from ehap.stages import qat  # only now: torchao starts CUDA, which settles what GPU it sees

    qat.run(
        args.data,
        args.checkpoint,
        args.weights,
        args.history,
        args.record,
        job=args.job,
        settings=args.settings,
        machine=args.machine,
        states=args.states,
        events=args.events,
    )


execute(args, _work, keep=True)
