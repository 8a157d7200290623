"""The paper's grid with five seeds on a real Slurm of one node, each stage replaced by a sleep.

``python -m tests.workflow.simulate_slurm --output FILE.md`` (as root, with Slurm's programs) adds to a file what the
cluster costs beyond the stages themselves, and fails unless every job was done exactly once.
"""

import argparse
import os
import re
import resource
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
PROFILE = ("--workflow-profile", "profiles/slurm")
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
class Costs:
    """Seconds from begin to end, and of all processes together; jobs that a dry run plans afterwards."""

    wall: float
    cpu: float
    left: int


@dataclass(frozen=True)
class Ran:
    """A line of the journal: a stage that was done once."""

    rule: str
    output: str
    slurm_job: str
    start: float
    end: float


def make_project(folder: Path, seeds: int, seconds: float, bundle: int = 1) -> None:
    """Copy the project, with the paper's configuration for ``seeds`` seeds and a sleep in the place of every stage.

    Args:
        folder: Is made.
        seeds: Of the grid.
        seconds: That each stage sleeps.
        bundle: Groups of the profile that make one Slurm job.
    """
    folder.mkdir()
    copy_project(folder)
    config = yaml.safe_load((folder / "config/config.yaml").read_text())
    config["grid"]["seeds"] = list(range(seeds))
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    (folder / "stand_in.py").write_text(STAND_IN)
    path = folder / "profiles/slurm/config.yaml"
    profile = yaml.safe_load(path.read_text()) | {"slurm-init-seconds-before-status-checks": 2}
    if bundle > 1:
        profile["groups"]["trace"] = "trace"
        profile["group-components"] = dict.fromkeys(set(profile["groups"].values()) - {"dense"}, bundle)
    path.write_text(yaml.safe_dump(profile))
    command = f'        "{{PYTHON}} -S {{ROOT}}/stand_in.py {seconds} {{rule}} {{output}}"\n'
    for path in (folder / "rules").glob("*.smk"):
        path.write_text(re.sub(r"(    shell:\n)(        .*\n)+", lambda found: found[1] + command, path.read_text()))


def plan(folder: Path, *arguments: str) -> tuple[int, float]:
    """Return how many jobs a dry run plans, and how many seconds it takes to plan them."""
    begin = time.monotonic()
    said = snakemake(folder, "--dry-run", *arguments)
    seconds = time.monotonic() - begin
    found = re.search(r"^total +(\d+)$", said, re.MULTILINE)
    return int(found[1]) - 1 if found else 0, seconds  # rule all has no job of its own


def journal(folder: Path) -> list[Ran]:
    """Return what has run."""
    rows = [line.split("\t") for line in (folder / "journal.tsv").read_text().splitlines()]
    return [Ran(rule, output, job, float(start), float(end)) for rule, output, job, start, end in rows]


def report(ran: list[Ran], cluster: list[dict[str, str]], planned: tuple[int, float], costs: Costs) -> str:
    """Return the measurement as a Markdown table."""
    outputs = {each.output for each in ran}
    on_cluster = [each for each in ran if each.slurm_job]
    inside = [_seconds(job, "StartTime", "EndTime") for job in cluster]
    queued = [_seconds(job, "SubmitTime", "StartTime") for job in cluster]
    states = ", ".join(f"{count} {state}" for state, count in Counter(job["JobState"] for job in cluster).items())
    each, per_slurm = len(ran), len(cluster)
    rows = [
        ("planned by a dry run", f"{planned[0]} jobs in {planned[1]:.1f} s"),
        ("done", f"{len(outputs)} jobs, {len(ran) - len(outputs)} of them more than once; then {costs.left} to do"),
        ("on the cluster", f"{len(on_cluster)} jobs in {len(cluster)} Slurm jobs ({states})"),
        ("by Snakemake itself (curves, shapes, tables)", f"{len(ran) - len(on_cluster)} jobs"),
        (
            "wall time",
            f"{costs.wall:.0f} s: {costs.wall / each:.2f} s a job, {costs.wall / per_slurm:.2f} s a Slurm job",
        ),
        ("CPU time", f"{costs.cpu:.0f} s: {costs.cpu / each:.2f} s a job, {costs.cpu / per_slurm:.2f} s a Slurm job"),
        ("a Slurm job in the queue", f"median {statistics.median(queued):.0f} s, longest {max(queued):.0f} s"),
        ("a Slurm job from start to end", f"median {statistics.median(inside):.0f} s, longest {max(inside):.0f} s"),
    ]
    return "\n".join(f"| {name} | {value} |" for name, value in [("what", "measured"), ("---", "---"), *rows])


def simulate(seeds: int, seconds: float, bundle: int, cpus: int) -> tuple[str, bool]:
    """Run it; return the report and whether every job was done exactly once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project = folder / "project"
        make_project(project, seeds, seconds, bundle)
        planned = plan(project, *PROFILE)
        before = _cpu_seconds()
        with slurm(folder / "slurm", cpus=cpus, gpus=cpus, memory_mb=10_000 * cpus) as cluster:
            begin = time.monotonic()
            snakemake(project, *PROFILE)
            wall = time.monotonic() - begin
            done = jobs_done(cluster)
        cpu = _cpu_seconds() - before  # with all of Slurm's services, and so its jobs, ended
        ran, left = journal(project), plan(project)[0]
        once = left == 0 and len(ran) == len({each.output for each in ran}) == planned[0]
        return report(ran, done, planned, Costs(wall, cpu, left)), once


def main() -> None:
    """Run it and write the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.workflow.simulate_slurm", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--seconds", type=float, default=0.1, help="that each stage sleeps")
    parser.add_argument("--bundle", type=int, default=1, help="groups of the profile, or traces, in one Slurm job")
    parser.add_argument("--cpus", type=int, default=8, help="that the node claims to have, and as many GPUs")
    parser.add_argument("--output", type=Path, help="the Markdown file that the report is added to")
    args = parser.parse_args()
    if missing():
        sys.exit(f"error: {missing()}")
    command = " ".join(["python -m tests.workflow.simulate_slurm", *sys.argv[1:]])
    busy = os.getloadavg()[0]
    table, once = simulate(args.seeds, args.seconds, args.bundle, args.cpus)
    text = TEXT.format(command=command, busy=busy, cores=os.cpu_count(), table=table, **vars(args))
    print(text)
    if args.output:
        with args.output.open("a") as file:
            file.write(text)
    if not once:
        sys.exit("error: not every job was done exactly once")


TEXT = """## {seeds} seeds, bundles of {bundle}

`{command}`

The node claims {cpus} CPUs and {cpus} GPUs; the machine has {cores} cores, which Snakemake, Slurm and the jobs share,
and had a load of {busy:.1f} from other work before. Every stage sleeps {seconds:g} s.

{table}

"""


def _cpu_seconds() -> float:
    """Return the CPU time of all processes that have ended and were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _seconds(job: dict[str, str], start: str, end: str) -> float:
    return (datetime.fromisoformat(job[end]) - datetime.fromisoformat(job[start])).total_seconds()


def snakemake(folder: Path, *arguments: str) -> str:
    """Run Snakemake in the project and return what it said."""
    command = [sys.executable, "-m", "snakemake", *arguments, "--configfile", "run.yaml"]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: Snakemake failed:\n{done.stdout[-3000:]}{done.stderr[-6000:]}")
    return done.stdout + done.stderr


if __name__ == "__main__":
    main()
