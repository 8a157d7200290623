"""Compute one part of the Hessian traces of every channel; trace.py merges them."""

from pathlib import Path

from ehap.settings import Trace
from ehap.workflow.script import arguments, logged

args = arguments("data", "checkpoint", "part", settings=Trace)
with logged(args):
    from ehap.stages import trace  # only now: torchao starts CUDA, which settles what GPU it sees

    trace.run_part(
        args.data,
        args.checkpoint,
        args.part,
        int(Path(args.part).name.split("-of-")[0]),
        job=args.job,
        settings=args.settings,
        machine=args.machine,
        states=args.states,
    )
