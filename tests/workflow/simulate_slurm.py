"""The paper's grid with five seeds on a real Slurm of one node, each stage replaced by a sleep.

``python -m tests.workflow.simulate_slurm`` (root, and Slurm's programs) writes what the cluster costs, beyond the
stages themselves, to measurements/<device>/slurm_simulation.md.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import yaml

from tests.workflow.conftest import copy_project
from tests.workflow.slurm import jobs_done, missing, slurm

SEEDS = 5
STAND_IN = '''"""Sleep, make the outputs, and note who did it: one line a job, written at once."""
import os, sys, time
seconds, rule, *outputs = sys.argv[1:]
start = time.time()
time.sleep(float(seconds))
for path in outputs:
    open(path, "x").close()
line = f"{rule}\\t{outputs[0]}\\t{os.environ.get('SLURM_JOB_ID', '')}\\t{start}\\t{time.time()}\\n"
journal = os.open("journal.tsv", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.write(journal, line.encode())
'''


@dataclass(frozen=True)
class Ran:
    """A line of the journal: a stage that was done once."""

    rule: str
    output: str
    slurm_job: str
    start: float
    end: float


def make_project(folder: Path, seeds: int, seconds: float) -> None:
    """Copy the project, with the paper's configuration for ``seeds`` seeds and a sleep in the place of every stage."""
    folder.mkdir()
    copy_project(folder)
    config = yaml.safe_load((folder / "config/config.yaml").read_text())
    config["grid"]["seeds"] = list(range(seeds))
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    (folder / "stand_in.py").write_text(STAND_IN)
    command = f'        "{{PYTHON}} -S {{ROOT}}/stand_in.py {seconds} {{rule}} {{output}}"\n'
    for path in (folder / "rules").glob("*.smk"):
        path.write_text(re.sub(r"(    shell:\n)(        .*\n)+", lambda found: found[1] + command, path.read_text()))


def plan(folder: Path, *arguments: str) -> tuple[int, float]:
    """Return how many jobs a dry run plans, and how many seconds it takes to plan them."""
    begin = time.monotonic()
    said = _snakemake(folder, "--dry-run", *arguments)
    seconds = time.monotonic() - begin
    found = re.search(r"^total +(\d+)$", said, re.MULTILINE)
    return int(found[1]) - 1 if found else 0, seconds  # rule all has no job of its own


def journal(folder: Path) -> list[Ran]:
    """Return what has run."""
    rows = [line.split("\t") for line in (folder / "journal.tsv").read_text().splitlines()]
    return [Ran(rule, output, job, float(start), float(end)) for rule, output, job, start, end in rows]


def report(
    ran: list[Ran], cluster: list[dict[str, str]], planned: tuple[int, float], wall: float, seconds: float
) -> str:
    """Return the measurement as Markdown."""
    outputs = Counter(each.output for each in ran)
    twice = sum(count > 1 for count in outputs.values())
    on_cluster = [each for each in ran if each.slurm_job]
    asleep = Counter[str]()
    for each in on_cluster:
        asleep[each.slurm_job] += each.end - each.start
    inside = [_seconds(job, "StartTime", "EndTime") - asleep[job["JobId"]] for job in cluster]
    queued = [_seconds(job, "SubmitTime", "StartTime") for job in cluster]
    states = ", ".join(f"{count} {state}" for state, count in Counter(job["JobState"] for job in cluster).items())
    rows = [
        ("planned (dry run)", f"{planned[0]} jobs in {planned[1]:.1f} s"),
        ("done", f"{len(ran)} jobs, {len(outputs)} of them different, {twice} done more than once"),
        ("on the cluster", f"{len(on_cluster)} jobs in {len(cluster)} Slurm jobs ({states})"),
        ("on the login node (curves, shapes, tables)", f"{len(ran) - len(on_cluster)} jobs"),
        ("wall time", f"{wall:.0f} s, of which each stage slept {seconds:g} s"),
        ("wall time by job", f"{wall / len(ran):.2f} s; by Slurm job {wall / len(cluster):.2f} s"),
        (
            "a Slurm job beyond its stages",
            f"median {statistics.median(inside):.1f} s, most {max(inside):.1f} s (starts Snakemake twice)",
        ),
        ("a Slurm job in the queue", f"median {statistics.median(queued):.0f} s, most {max(queued):.0f} s"),
    ]
    return "\n".join(f"| {name} | {value} |" for name, value in [("what", "measured"), ("---", "---"), *rows])


def main() -> None:
    """Run it and write the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.workflow.simulate_slurm", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--seconds", type=float, default=0.1, help="that each stage sleeps")
    parser.add_argument("--cpus", type=int, default=8, help="that the node claims to have, and as many GPUs")
    parser.add_argument("--output", type=Path, help="the Markdown file; printed in any case")
    args = parser.parse_args()
    if missing():
        sys.exit(f"error: {missing()}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project = folder / "project"
        make_project(project, args.seeds, args.seconds)
        profile = ("--workflow-profile", "profiles/slurm")
        planned = plan(project, *profile)
        with slurm(folder / "slurm", cpus=args.cpus, gpus=args.cpus, memory_mb=10_000 * args.cpus) as cluster:
            begin = time.monotonic()
            _snakemake(project, *profile, "--slurm-init-seconds-before-status-checks", "2")
            wall = time.monotonic() - begin
            done = jobs_done(cluster)
        ran = journal(project)
        left = plan(project)[0]
        table = report(ran, done, planned, wall, args.seconds)
    command = " ".join(["python -m tests.workflow.simulate_slurm", *sys.argv[1:]])
    text = TEXT.format(command=command, seeds=args.seeds, cpus=args.cpus, cores=os.cpu_count(), table=table, left=left)
    print(text)
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(text)
    if left or len(ran) != planned[0] or len({each.output for each in ran}) != len(ran):
        sys.exit("error: not every job was done exactly once")


TEXT = """# The paper's grid with {seeds} seeds on Slurm, stages replaced by sleeps

`{command}`

One node that claims {cpus} CPUs and {cpus} GPUs on a machine with {cores} cores; profiles/slurm as it is, but that the
queue is looked at after 2 s instead of 5. Snakemake itself, Slurm's services and every job share these cores, so that
the wall time is the time that {cores} cores need to start all those processes. A dry run afterwards plans {left} jobs.

{table}
"""


def _seconds(job: dict[str, str], start: str, end: str) -> float:
    return (datetime.fromisoformat(job[end]) - datetime.fromisoformat(job[start])).total_seconds()


def _snakemake(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "snakemake", *arguments, "--configfile", "run.yaml"]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: Snakemake failed:\n{done.stdout[-3000:]}{done.stderr[-6000:]}")
    return done.stdout + done.stderr


if __name__ == "__main__":
    main()
