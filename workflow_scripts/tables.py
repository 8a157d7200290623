"""Make every table of a run from its records."""

from ehap.settings import Tables
from ehap.workflow.cells import record_paths
from ehap.workflow.script import arguments, logged

args = arguments("results", "paper", "paper_settings", "folder", settings=Tables)
with logged(args):
    from ehap.stages import tables  # only now: torchao starts CUDA, which settles what GPU it sees

    tables.run(record_paths(args.results, args.settings), args.paper, args.paper_settings, args.folder)
