"""The command report_now: the page of results of a run that is not finished."""

import argparse
import sys
from pathlib import Path

from ehap.errors import EhapError, ProvenanceError
from ehap.stages.report import write_page
from ehap.workflow.cells import page_records
from ehap.workflow.check import checked, checked_files
from ehap.workflow.command import command_options
from ehap.workflow.comparison import Comparison
from ehap.workflow.configuration import read_run

INPUTS = (Path("config/paper_results.csv"), Path("config/paper_settings.csv"), Path("measurements"))


def main(description: str) -> None:
    """Read the command line, make the page and print its path."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("configuration", nargs="?", type=Path, default=Path("config/config.yaml"))
    parser.add_argument("--results", type=Path, help="the folder of the run, if not results/<name>")
    parser.add_argument("--page", type=Path, help="the file to write, if not report/index.html there")
    args = parser.parse_args()
    try:
        run = read_run(args.configuration)
        results = args.results or Path("results") / run.name
        page = args.page or results / "report/index.html"
        options = command_options([args.configuration], {})
        found = _compared(args.configuration, results)
        if str(page) not in found.good or found.wrong or found.behind:  # otherwise the run's own page is up to date
            wrong = {Path(path).parent for path in (*found.wrong, *found.behind)}
            records = [path for path in page_records(results, run.tables()) if path.parent not in wrong]
            write_page(results, records, *INPUTS, page, run.tables(), options, run.name)
    except EhapError as error:
        parser.exit(1, f"error: {error}\n")
    print(page)


def _compared(configuration: Path, results: Path) -> Comparison:
    """Compare the records of a run with its plan, or with files alone; print the differences."""
    try:
        found = checked(configuration)
    except ProvenanceError as error:
        print(f"Checked against the files only: {error}", file=sys.stderr)
        found = checked_files(results)
    if found.text():
        print(found.text(), file=sys.stderr)
    if found.wrong:
        print("The page leaves these out; the next run of Snakemake rebuilds them.", file=sys.stderr)
    return found
