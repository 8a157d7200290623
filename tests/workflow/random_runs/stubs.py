"""A copy of the project in which every stage is a stub: real rules, real scripts, but outputs of a few bytes.

The outputs are a pure function of the stage, of a constant in its code, of its settings and of what it reads.
"""

import re
import shutil
from pathlib import Path

from tests.workflow.conftest import DVC, GIT, ROOT, copy_project, run_in, scripts_of_jobs

STUB = '''"""What stands for every stage: it reads all of its inputs, and writes their hash to all of its outputs."""

import hashlib
import json
import os
import time
from dataclasses import asdict
from pathlib import Path

from ehap.errors import DataError

HERE = Path(__file__).parents[2]


def run(job, constant):
    outputs = job.output_files()
    first = str(outputs[0])
    note("begun", first)
    order("start", outputs)
    there = [path for path in job.input_files() if path.exists()]  # the page's may be missing
    read = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in there}
    order("read", outputs)
    settings = None if job.settings is None else asdict(job.settings)
    text = json.dumps([Path(first).parts, constant, settings, read])
    for path in outputs:
        if not path.name.endswith("sources.json"):
            write(path, hashlib.sha256(f"{path} {text}".encode()).hexdigest())
    note("made", first, hashlib.sha256(f"{job.identity.code} {text}".encode()).hexdigest())
    order("written", outputs)


def write(path, digest):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name == "record.json":
        digest = json.dumps({"stage": "stub", "values": {"digest": digest}, "settings": {}, "duration_s": 1})
    new = path.with_name(path.name + ".new")
    new.write_text(digest)
    new.replace(path)


def note(event, first, key=""):
    journal = os.open(HERE / "journal.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(journal, (json.dumps([event, first, key]) + "\\n").encode())
    os.close(journal)


def order(point, outputs):
    """Do what the test has ordered for this job at this point: wait until it says go, or fail once."""
    try:
        wanted = json.loads((HERE / "order.json").read_text())
    except FileNotFoundError:
        return
    if wanted[0] not in map(str, outputs) or wanted[1] != point:
        return
    (HERE / "order.json").unlink()
    if wanted[2] == "fail":
        raise DataError("failed as ordered")
    (HERE / "reached.new").write_text(str(os.getpid()))
    (HERE / "reached.new").replace(HERE / "reached")
    while HERE.exists() and not (HERE / "go").exists():
        time.sleep(0.005)
'''
STAGE = '''"""A stub."""

from ehap.stages.stub import run as made

CONSTANT = 0


def run(job):
    made(job, CONSTANT)
'''
NOTED = """
if workflow.is_main_process:
    import os

    Path("snakemake.pid").write_text(str(os.getpid()))
"""


def make_template(folder: Path) -> None:
    """Make the project with stubs in ``folder``, in a repository of git and DVC with a remote beside it."""
    folder.mkdir(parents=True)
    copy_project(folder)
    for stage in scripts_of_jobs():  # also of stages that these runs plan with, but do not run
        (folder / f"ehap/stages/{stage}.py").write_text(STAGE)
    (folder / "ehap/stages/stub.py").write_text(STUB)
    with (folder / "Snakefile").open("a") as file:
        file.write(NOTED)
    path = folder / "dvc.yaml"
    text = re.sub(r"(    foreach:\n)(      \w+: .*\n)+", r"\1      small: {config: run.yaml}\n", path.read_text())
    path.write_text(text)
    shutil.copy(ROOT / ".gitignore", folder)
    with (folder / ".gitignore").open("a") as file:
        file.write("/journal.jsonl\n/snakemake.pid\n/order.json\n/reached\n/go\n/said.txt\n")
    run_in(folder, *GIT, "init", "--quiet")
    run_in(folder, *DVC, "init", "--quiet")
    run_in(folder, *DVC, "remote", "add", "--default", "shared", "../remote")
