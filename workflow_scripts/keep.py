"""Copy a run's records, histories and plans to measurements/<device>/<run>, with the tables of what is there so far."""

import argparse
from pathlib import Path

from ehap.errors import EhapError
from ehap.stages.tables import write_tables
from ehap.workflow.check import checked, checked_files, configurations
from ehap.workflow.keeping import keep, records_of

CONFIG = Path(__file__).parents[1] / "config"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("results", type=Path, help="results/<run>")
parser.add_argument("--folder", type=Path, default=Path("measurements"))
parser.add_argument("--networks", action="store_true", help="dense networks, too, for others to start from")
parser.add_argument("--all", action="store_true", help="records of other files, settings or code than now, too")
args = parser.parse_args()
if not args.results.is_dir():
    parser.exit(1, f"error: expected the folder of a run, but there is none at {args.results}.\n")


def left_out(results: Path) -> set[Path]:
    """Return the folders of records that the plan would make anew, and print why."""
    name = results.name
    try:
        compared = checked(configurations()[name]) if name in configurations() else checked_files(results)
    except EhapError as error:
        parser.exit(1, f"error: {error} To keep records without a comparison, say --all.\n")
    wrong = {Path(path).parent for path in (*compared.wrong, *compared.behind)}
    if compared.text():
        print(compared.text())
    if wrong:
        print("These are left out; Snakemake makes them anew, and --all keeps them as they are.")
    return wrong


wrong = set() if args.all else left_out(args.results)
found = records_of(args.results, wrong)
try:
    copies = keep(args.results, found, wrong, args.folder, args.networks)
except EhapError as error:
    parser.exit(1, f"error: {error}\n")
for copy in copies:
    print(copy.text())
records = sorted(path for copy in copies for path in copy.folder.rglob("record.json"))
if any(record["stage"] == "evaluate" for record in found.values()):
    tables = copies[0].folder / "tables"
    write_tables(records, CONFIG / "paper_results.csv", CONFIG / "paper_settings.csv", tables)
    print(f"tables of all of them in {tables}")
