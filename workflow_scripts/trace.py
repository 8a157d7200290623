"""Compute the Hessian trace of every channel."""

from ehap.settings import Trace
from ehap.stages import trace
from ehap.workflow.script import arguments, logged

args = arguments("data", "checkpoint", "traces", "record", settings=Trace)
with logged(args):
    trace.run(
        args.data,
        args.checkpoint,
        args.traces,
        args.record,
        job=args.job,
        settings=args.settings,
        machine=args.machine,
        states=args.states,
    )
