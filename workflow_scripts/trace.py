"""Compute the Hessian trace of every channel, or merge the parts of it that several jobs have computed."""

from ehap.settings import Trace
from ehap.workflow.script import arguments, logged

args = arguments("data", "checkpoint", "traces", "record", settings=Trace, optional=("parts",))
with logged(args):
    from ehap.stages import trace  # only now: torchao starts CUDA, which settles what GPU it sees

    trace.run(
        args.data,
        args.checkpoint,
        args.traces,
        args.record,
        job=args.job,
        settings=args.settings,
        machine=args.machine,
        states=args.states,
        parts=args.parts,
    )
