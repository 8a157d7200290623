"""Copy a run's records, histories and plans to measurements/<device>/<run>, with the tables of what is there so far."""

import argparse
import json
from pathlib import Path

from ehap.errors import EhapError
from ehap.runtime.device import slug
from ehap.runtime.files import write_atomically
from ehap.stages import tables
from ehap.workflow.check import checked, checked_files, configurations

CONFIG = Path(__file__).parents[1] / "config"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("results", type=Path, help="results/<run>")
parser.add_argument("--folder", type=Path, default=Path("measurements"))
parser.add_argument("--networks", action="store_true", help="dense networks, too, for others to start from")
parser.add_argument("--all", action="store_true", help="records of other files, settings or code than now, too")
args = parser.parse_args()
if not args.results.is_dir():
    parser.exit(1, f"error: expected the folder of a run, but there is none at {args.results}.\n")

wrong: set[Path] = set()
if not args.all:
    name = args.results.name
    try:
        compared = checked(configurations()[name]) if name in configurations() else checked_files(args.results)
    except EhapError as error:
        parser.exit(1, f"error: {error} To keep records without a comparison, say --all.\n")
    wrong = {Path(path).parent for path in (*compared.wrong, *compared.behind)}
    if compared.text():
        print(compared.text())
    if wrong:
        print("These are left out; Snakemake makes them anew, and --all keeps them as they are.")
paths = [path for path in sorted(args.results.rglob("record.json")) if path.parent not in wrong]
found = {path: json.loads(path.read_text()) for path in paths}
runs = {record["device"]: args.folder / slug(record["device"]) / args.results.name for record in found.values()}
evaluated = {record["device"] for record in found.values() if record["stage"] == "evaluate"}
copied: dict[Path, int] = {}
for path, record in found.items():
    cell = path.relative_to(args.results).parent
    # A plan is the same on every device, and tables of a device want the plans of what was evaluated there.
    devices = sorted(evaluated | {record["device"]}) if record["stage"] == "prune" else [record["device"]]
    network = [path.with_name("model.safetensors")] if args.networks and record["stage"] == "pretrain" else []
    for run in (runs[device] for device in devices):
        for source in (path, path.with_name("history.csv"), path.with_name("plan.json"), *network):
            if source.exists():
                try:
                    write_atomically(run / cell / source.name, source.read_bytes())
                except EhapError as error:
                    parser.exit(1, f"error: {error}\n")
        copied[run] = copied.get(run, 0) + 1
for run, count in copied.items():
    print(f"{count} records in {run}; name it under also_read to show them in the tables")
    older = [path for path in run.rglob("record.json") if not (args.results / path.relative_to(run)).exists()]
    older += [path for path in run.rglob("record.json") if (args.results / path.relative_to(run)).parent in wrong]
    if older:
        print(f"  beside {len(older)} kept before that the run does not have (any more), the first {older[0].parent}")
records = sorted(path for run in copied for path in run.rglob("record.json"))
if any(json.loads(path.read_text())["stage"] == "evaluate" for path in records):
    largest = max(copied, key=copied.__getitem__)
    tables.write_tables(records, CONFIG / "paper_results.csv", CONFIG / "paper_settings.csv", largest / "tables")
    print(f"tables of all of them in {largest / 'tables'}")
