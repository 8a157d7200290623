"""Draw the learning curves of one cell from the histories of its trainings."""

from ehap.settings.names import Order
from ehap.workflow.script import arguments, execute

args = arguments(writes=("picture", "sources"), settings=Order, several=("dense", "finetuned", "quantized"))


def _work() -> None:
    from ehap.stages import curves  # only now: torchao starts CUDA, which settles what GPU it sees

    curves.run([*args.dense, *args.finetuned, *args.quantized], args.picture, args.job.title())


execute(args, _work)
