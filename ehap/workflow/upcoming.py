"""The command next: rows of a run's tables that are not complete, with the time that each should take."""

import argparse
import csv
import subprocess
import sys
from pathlib import Path

from ehap.errors import EhapError, ProvenanceError
from ehap.settings import Run
from ehap.settings.names import DENSE
from ehap.workflow.configuration import read_run
from ehap.workflow.forecast import (
    Task,
    estimate,
    main_device,
    not_done_elsewhere,
    rates,
    rows_to_do,
    summary,
    task_of,
    together,
)


def main(description: str) -> None:
    """Read the command line and print the jobs to do."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("configuration", nargs="?", type=Path, default=Path("config/config.yaml"))
    path = parser.parse_args().configuration
    try:
        run = read_run(path)
        others = [Path(folder) for folder in run.also_read]
        tasks = not_done_elsewhere(_to_do(path), others)
    except EhapError as error:
        parser.exit(1, f"error: {error}\n")
    known = rates([Path("results") / run.name], others)
    print(summary(tasks, run, known))
    rows = rows_to_do(tasks, run)
    if not rows:
        return
    here = [rate for rate in known if rate.device == main_device(known)]
    print("\nNext, whole rows first:\n")
    for (dataset, model, method), row in rows:
        length = together([estimate(task, run, here) for task in row])
        print(f"  {dataset:<9}{model:<9}{method:<22}{len(row):>4} jobs  {length:>14}")
    print(f"\nThe first row:\n  snakemake {_target(run, *rows[0][0])} --configfile {path}")


def _to_do(configuration: Path) -> list[Task]:
    """Return the jobs that Snakemake would do, each once."""
    command = [sys.executable, "-m", "snakemake", "--configfile", str(configuration), "--summary"]
    listed = subprocess.run(command, check=False, capture_output=True, text=True)
    if listed.returncode:
        raise ProvenanceError(f"snakemake --summary failed: {listed.stderr.strip().splitlines()[-1]}")
    files = csv.DictReader(listed.stdout.splitlines(), delimiter="\t")
    return list(dict.fromkeys(task_of(file["output_file"]) for file in files if file["plan"] != "no update"))


def _target(run: Run, dataset: str, model: str, method: str) -> str:
    """Return the records of a row as a shell expands them."""
    seeds = ",".join(map(str, run.grid.seeds))
    of_seeds = f"{{{seeds}}}" if len(run.grid.seeds) > 1 else seeds
    networks = ",".join([DENSE, method, *(f"{method}/{scheme}" for scheme in run.grid.schemes)])
    return f"results/{run.name}/evaluate/{dataset}/{model}/seed{of_seeds}/{{{networks}}}/record.json"
