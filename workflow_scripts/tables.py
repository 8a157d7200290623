"""Make every table of a run from its records."""

from ehap.settings import Tables
from ehap.workflow.cells import record_paths
from ehap.workflow.script import arguments, execute

args = arguments("paper", "paper_settings", writes=("sources",), settings=Tables, beside=("results",))
records = record_paths(args.results, args.settings)
args.inputs += records


def _work() -> None:
    from ehap.stages import tables  # only now: torchao starts CUDA, which settles what GPU it sees

    tables.run(records, args.paper, args.paper_settings, args.results / "tables")


execute(args, _work)
