"""The command keep: records of a run that git keeps, copied to ``measurements/<device>/<run>``."""

import argparse
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ehap.errors import EhapError
from ehap.results.former import current, current_folder, in_order
from ehap.runtime.device import slug
from ehap.runtime.files import write_atomically
from ehap.stages.tables import write_tables
from ehap.workflow.catalog import BESIDE, stage_of
from ehap.workflow.check import checked, checked_files, configurations

CONFIG = Path(__file__).parents[2] / "config"
Records = Mapping[Path, Mapping[str, Any]]


@dataclass(frozen=True)
class Copy:
    """Records copied into one folder.

    folder: ``measurements/<device>/<run>``. count: Records. older: Records there that the run does not have.
    """

    folder: Path
    count: int
    older: tuple[Path, ...]

    def text(self) -> str:
        """Return the lines for a user."""
        line = f"{self.count} records in {self.folder}; name it under also_read to show them in the tables"
        if not self.older:
            return line
        first = self.older[0].parent
        return (
            f"{line}\n  beside {len(self.older)} kept before that the run does not have (any more), the first {first}"
        )


def records_of(results: Path, left_out: Collection[Path]) -> dict[Path, dict[str, Any]]:
    """Return the records of a run, by path.

    Args:
        results: The folder of the run.
        left_out: Folders with records that do not count.
    """
    paths = [path for path in sorted(results.rglob("record.json")) if path.parent not in left_out]
    return {path: current(json.loads(path.read_text())) for path in paths}


def keep(results: Path, found: Records, left_out: Collection[Path], folder: Path, networks: bool) -> list[Copy]:
    """Copy records with the files beside them; return the copies, the folder with the most records first.

    Args:
        results: The folder of the run.
        found: Path to record.
        left_out: Folders of the run that do not count.
        folder: Holds a folder a device.
        networks: Whether dense networks are copied, too.

    Raises:
        WriteError: A file cannot be written.
    """
    runs = {record["device"]: folder / slug(record["device"]) / results.name for record in found.values()}
    evaluated = {record["device"] for record in found.values() if record["stage"] == "evaluate"}
    copied: dict[Path, int] = {}
    for path, record in found.items():
        cell = current_folder(path.relative_to(results).parent)
        # A plan is the same on every device, and the tables of a device need the plans of the networks evaluated there.
        devices = sorted(evaluated | {record["device"]}) if record["stage"] == "prune" else [record["device"]]
        for run in (runs[device] for device in devices):
            for source in _files(path, str(record["stage"]), networks):
                write_atomically(run / cell / source.name, source.read_bytes())
            copied[run] = copied.get(run, 0) + 1
    order = sorted(copied, key=lambda run: -copied[run])
    return [Copy(run, copied[run], tuple(_older(run, results, left_out))) for run in order]


def _files(record: Path, stage: str, networks: bool) -> list[Path]:
    """Return a record and the files beside it that are kept."""
    names = [record.name, *BESIDE]
    names += [stage_of(stage).network] if networks and stage == "pretrain" else []
    return [path for path in map(record.with_name, names) if path.exists()]


def _older(run: Path, results: Path, left_out: Collection[Path]) -> Iterator[Path]:
    """Yield kept records that the run does not have, or has but for other files, settings or code."""
    for path in in_order(run):
        there = results / path.relative_to(run)
        if not there.exists() or there.parent in left_out:
            yield path


def main(description: str) -> None:
    """Read the command line and keep the records of a run, with the tables of all records so far."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("results", type=Path, help="results/<run>")
    parser.add_argument("--folder", type=Path, default=Path("measurements"))
    parser.add_argument("--networks", action="store_true", help="dense networks, too, for others to start from")
    parser.add_argument("--all", action="store_true", help="records of other files, settings or code than now, too")
    args = parser.parse_args()
    if not args.results.is_dir():
        parser.exit(1, f"error: expected the folder of a run, but there is none at {args.results}.\n")
    try:
        wrong = set() if args.all else _left_out(args.results)
    except EhapError as error:
        parser.exit(1, f"error: {error} To keep records without a comparison, say --all.\n")
    found = records_of(args.results, wrong)
    try:
        copies = keep(args.results, found, wrong, args.folder, args.networks)
    except EhapError as error:
        parser.exit(1, f"error: {error}\n")
    for copy in copies:
        print(copy.text())
    if any(record["stage"] == "evaluate" for record in found.values()):
        records = [path for copy in copies for path in in_order(copy.folder)]
        tables = copies[0].folder / "tables"
        write_tables(records, CONFIG / "paper_results.csv", CONFIG / "paper_settings.csv", tables)
        print(f"tables of all of them in {tables}")


def _left_out(results: Path) -> set[Path]:
    """Return the folders of records that the plan would make anew, and print why."""
    name = results.name
    compared = checked(configurations()[name]) if name in configurations() else checked_files(results)
    wrong = {Path(path).parent for path in (*compared.wrong, *compared.behind)}
    if compared.text():
        print(compared.text())
    if wrong:
        print("These are left out; Snakemake makes them anew, and --all keeps them unchanged.")
    return wrong
