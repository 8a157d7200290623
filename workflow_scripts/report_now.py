"""Make the page of results of an unfinished run; the page names the missing records and the commands for them."""

import argparse
import sys
from pathlib import Path

from ehap.errors import EhapError, ProvenanceError
from ehap.stages import report
from ehap.workflow.cells import page_records
from ehap.workflow.check import checked, checked_files
from ehap.workflow.command import command_options
from ehap.workflow.configuration import read_run

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("configuration", nargs="?", type=Path, default=Path("config/config.yaml"))
parser.add_argument("--results", type=Path, help="the folder of the run, if not results/<name>")
parser.add_argument("--page", type=Path, help="the file to write, if not report/index.html there")
args = parser.parse_args()

try:
    run = read_run(args.configuration)
    results = args.results or Path("results") / run.name
    page = args.page or results / "report/index.html"
    inputs = (Path("config/paper_results.csv"), Path("config/paper_settings.csv"), Path("measurements"))
    options = command_options([args.configuration], {})
    try:
        found = checked(args.configuration)
    except ProvenanceError as error:
        print(f"Checked against the files only: {error}", file=sys.stderr)
        found = checked_files(results)
    if found.text():
        print(found.text(), file=sys.stderr)
    if found.wrong:
        print("The page leaves these out; the next run of Snakemake rebuilds them.", file=sys.stderr)
    if str(page) in found.good and not found.wrong and not found.behind:  # that of the run itself
        parser.exit(0, f"{page}\n")
    wrong = {Path(path).parent for path in (*found.wrong, *found.behind)}
    records = [path for path in page_records(results, run.tables()) if path.parent not in wrong]
    report.write_page(results, records, *inputs, page, run.tables(), options, run.name)
except EhapError as error:
    parser.exit(1, f"error: {error}\n")
print(page)
