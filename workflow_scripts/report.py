"""Make the page of results of a run."""

import sys
from argparse import ArgumentParser

from ehap.settings import Tables
from ehap.workflow.cells import page_files, page_records
from ehap.workflow.script import arguments, execute

own = ArgumentParser(add_help=False, allow_abbrev=False)  # a word that no other stage takes
own.add_argument("--options", default="", help="of the commands that the page prints, e.g. --configfile FILE")
given = [word.removeprefix("options=") for word in sys.argv if word.startswith("options=")]
options = own.parse_args([f"--options={given[0] if given else ''}"])
args = arguments(
    "paper",
    "paper_settings",
    writes=("page", "sources"),
    settings=Tables,
    several=("benchmarks", "assets"),
    beside=("results", "measurements"),
)
args.inputs += [path for path in page_files(args.results, args.settings) if path.exists()]  # it says what is missing


def _work() -> None:
    from ehap.stages import report  # only now: torchao starts CUDA, which settles what GPU it sees

    records = page_records(args.results, args.settings)
    inputs = (args.paper, args.paper_settings, args.measurements)
    report.run(args.results, records, *inputs, args.page, args.settings, options.options, args.results.name)


execute(args, _work)
