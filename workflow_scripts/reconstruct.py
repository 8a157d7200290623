"""Bring one pruned network near to the dense one on some images, without labels."""

from ehap.settings import Reconstruct
from ehap.workflow.script import arguments, execute

args = arguments("data", "teacher", "pruned", writes=("checkpoint", "history", "record"), settings=Reconstruct)


def _work() -> None:
    from ehap.stages import reconstruct  # only now: torchao starts CUDA, which settles what GPU it sees

    reconstruct.run(
        args.data,
        args.teacher,
        args.pruned,
        args.checkpoint,
        args.history,
        args.record,
        job=args.job,
        settings=args.settings,
        machine=args.machine,
        states=args.states,
    )


execute(args, _work, keep=True)
