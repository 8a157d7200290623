"""Make the page of results of a run."""

from ehap.settings import Tables
from ehap.workflow.cells import page_records
from ehap.workflow.script import arguments, logged

args = arguments("results", "paper", "paper_settings", "measurements", "page", settings=Tables)
with logged(args):
    from ehap.stages import report  # only now: torchao starts CUDA, which settles what GPU it sees

    records = page_records(args.results, args.settings)
    inputs = (args.paper, args.paper_settings, args.measurements)
    report.run(args.results, records, *inputs, args.page, args.settings, ".venv/bin/snakemake", args.results.name)
