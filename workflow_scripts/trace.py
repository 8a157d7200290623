"""Compute the Hessian trace of every channel, or merge the parts of it that several jobs have computed."""

from ehap.settings import Trace
from ehap.workflow.script import arguments, execute
from ehap.workflow.sources import check_made_from

args = arguments("data", "checkpoint", writes=("traces", "record"), settings=Trace, several=("parts", "notes"))


def _work() -> None:
    from ehap.stages import trace  # only now: torchao starts CUDA, which settles what GPU it sees

    check_made_from(args.parts, [args.data, args.checkpoint])
    trace.run(
        args.data,
        args.checkpoint,
        args.traces,
        args.record,
        job=args.job,
        settings=args.settings,
        machine=args.machine,
        states=args.states,
        parts=args.parts[0].parent if args.parts else None,
    )


execute(args, _work, keep=True)
