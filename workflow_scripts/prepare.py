"""Check a dataset and write it as one file of tensors."""

from ehap.settings import Prepare
from ehap.workflow.script import arguments, execute

args = arguments(writes=("data", "record"), settings=Prepare)


def _work() -> None:
    from ehap.stages import prepare  # only now: torchao starts CUDA, which settles what GPU it sees

    prepare.run(
        args.data,
        args.record,
        job=args.job,
        settings=args.settings,
        machine=args.machine,
    )


execute(args, _work)
