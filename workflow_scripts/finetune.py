"""Train one pruned network on."""

from ehap.settings import Finetune
from ehap.workflow.script import arguments, execute

args = arguments("data", "pruned", writes=("checkpoint", "history", "record"), settings=Finetune, optional=("teacher",))


def _work() -> None:
    from ehap.stages import finetune  # only now: torchao starts CUDA, which settles what GPU it sees

    finetune.run(
        args.data,
        args.pruned,
        args.checkpoint,
        args.history,
        args.record,
        job=args.job,
        settings=args.settings,
        machine=args.machine,
        states=args.states,
        events=args.events,
        teacher=args.teacher,
    )


execute(args, _work, keep=True)
