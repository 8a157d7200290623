"""Say which rows of a run's tables come next, how long each should take, and the command for the first."""

import argparse
import csv
import subprocess
import sys
from pathlib import Path

from ehap.errors import EhapError
from ehap.settings.names import DENSE
from ehap.workflow.configuration import read_run
from ehap.workflow.forecast import (
    estimate,
    main_device,
    not_done_elsewhere,
    rates,
    rows_to_do,
    summary,
    task_of,
    together,
)

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("configuration", nargs="?", type=Path, default=Path("config/config.yaml"))
path = parser.parse_args().configuration
try:
    run = read_run(path)
except EhapError as error:
    parser.exit(1, f"error: {error}\n")
results = f"results/{run.name}"

command = [sys.executable, "-m", "snakemake", "--configfile", str(path), "--summary"]
listed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
files = list(csv.DictReader(listed.splitlines(), delimiter="\t"))
tasks = list(dict.fromkeys(task_of(file["output_file"]) for file in files if file["plan"] != "no update"))
others = [Path(folder) for folder in run.also_read]
tasks = not_done_elsewhere(tasks, others)
known = rates([Path(results)], others)
here = [rate for rate in known if rate.device == main_device(known)]

print(summary(tasks, run, known))
rows = rows_to_do(tasks, run)
if rows:
    print("\nNext, whole rows first:\n")
    for (dataset, model, method), row in rows:
        length = together([estimate(task, run, here) for task in row])
        print(f"  {dataset:<9}{model:<9}{method:<22}{len(row):>4} jobs  {length:>14}")
    (dataset, model, method), _ = rows[0]
    seeds = ",".join(map(str, run.grid.seeds))
    of_seeds = f"{{{seeds}}}" if len(run.grid.seeds) > 1 else seeds
    networks = ",".join([DENSE, method, *(f"{method}/{scheme}" for scheme in run.grid.schemes)])
    target = f"{results}/evaluate/{dataset}/{model}/seed{of_seeds}/{{{networks}}}/record.json"
    print(f"\nThe first row:\n  snakemake {target} --configfile {path}")
