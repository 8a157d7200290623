"""How long a start takes to compare the paper's finished grid with its plan: every file simulated, none trained.

``python -m tests.workflow.simulate_check --output FILE.md`` fills a copy of the project with files of the right names
and records of the right sources, starts Snakemake three times, and fails unless it has nothing to do.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.workflow.conftest import ROOT, copy_project

FILL = '''

def _filled(workflow):
    """Write every output of the plan, in its order, with the sources that its job would have noted."""
    from ehap.workflow.sources import Sources, holder, write_sources
    from ehap.runtime.files import sha256_of
    for level in workflow.dag.toposorted():
        for job in level:
            if not job.output or any("temp" in file.flags for file in job.output):
                continue
            plan = planned(job)
            own = holder(plan.outputs)
            for path in plan.outputs:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                Path(path).write_text("{}" if path == own else path)
            write_sources(Path(own), Sources(
                inputs={path: sha256_of(path) for path in plan.inputs},
                settings=json.loads(plan.settings) if plan.settings else None, code=plan.code, libraries={},
                outputs={path: sha256_of(path) for path in plan.outputs if path != own}))


def compared(jobs, unmade=(), compared=compared):
    begin = time.perf_counter()
    found = compared(jobs, unmade)
    wrong, seconds = len(found.wrong), time.perf_counter() - begin
    print(f"compared: {len(found.good)} jobs agree, {wrong} do not, {seconds:.2f} s", file=sys.stderr)
    return found


def force_wrong(workflow, force_wrong=force_wrong):
    if "FILL" not in os.environ:
        return force_wrong(workflow)
    _filled(workflow)
    return Comparison()
'''
LINE = re.compile(r"compared: (\d+) jobs agree, (\d+) do not, ([\d.]+) s")


def start(folder: Path, configuration: str, **environment: str) -> tuple[str, float]:
    """Start Snakemake for a dry run; return what it says and its seconds."""
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "all", "--configfile", configuration]
    begin = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(folder)} | environment
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: Snakemake failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout + done.stderr, time.perf_counter() - begin


def main() -> None:
    """Simulate, compare cold and warm, and write the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.workflow.simulate_check", description=__doc__)
    parser.add_argument("--configuration", default="config/config.yaml")
    parser.add_argument("--output", type=Path, help="the Markdown file that the figures are added to")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = copy_project(Path(name))
        path = folder / "ehap/workflow/start.py"
        path.write_text(path.read_text() + FILL)
        start(folder, args.configuration, FILL="1")
        time.sleep(3)  # what was written a moment ago is not cached
        for kind in ("no hash known", "all hashes known", "all hashes known", "all hashes known"):
            said, whole = start(folder, args.configuration)
            (line,) = LINE.finditer(said)
            agree, wrong, seconds = line.groups()
            rows.append(f"| {kind} | {agree} | {wrong} | {seconds} | {whole:.1f} |")
            if int(wrong) or "Nothing to be done" not in said:
                sys.exit(f"error: expected nothing to be done:\n{said[-3000:]}")
        files = sum(1 for found in (folder / "results").rglob("*") if found.is_file())
    command = " ".join(["python -m tests.workflow.simulate_check", *sys.argv[1:]])
    head = "| start | jobs that agree | that do not | comparison, s | whole dry run, s |\n|---|---|---|---|---|"
    text = f"`{command}`: {files} simulated files\n\n{head}\n" + "\n".join(rows) + "\n\n"
    print(text)
    if args.output:
        with (ROOT / args.output).open("a") as file:
            file.write(text)


if __name__ == "__main__":
    main()
