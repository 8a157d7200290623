"""Check a dataset and write it as one file of tensors."""

from ehap.settings import Prepare
from ehap.stages import prepare
from ehap.workflow.script import arguments, logged

args = arguments("data", "record", settings=Prepare)
with logged(args):
    prepare.run(
        args.data,
        args.record,
        job=args.job,
        settings=args.settings,
        machine=args.machine,
    )
