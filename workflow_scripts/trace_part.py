"""Compute one part of the Hessian traces of every channel; trace.py merges them."""

from pathlib import Path

from ehap.settings import Trace
from ehap.workflow.script import arguments, execute

args = arguments("data", "checkpoint", writes=("part", "sources"), settings=Trace)


def _work() -> None:
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


execute(args, _work, keep=True)
