"""Compute the Hessian trace of every channel until the channels that would be kept are stable."""

from dataclasses import replace

from ehap.settings import Trace
from ehap.workflow.script import arguments, execute

args = arguments("data", "checkpoint", writes=("traces", "record"), settings=Trace)


def _work() -> None:
    from ehap.stages import trace  # only now: torchao starts CUDA, which settles what GPU it sees
    from ehap.stages.trace_until import planner_of

    trace.run(
        args.data,
        args.checkpoint,
        args.traces,
        args.record,
        job=replace(args.job, stage="trace"),
        settings=args.settings,
        machine=args.machine,
        states=args.states,
        planner=planner_of(args.settings),
    )


execute(args, _work, keep=True)
