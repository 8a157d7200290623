"""Runs of Snakemake on a Slurm, started by tests and ended with them."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.workflow.conftest import copy_project

PROFILE = ["--workflow-profile", "profiles/slurm", "--configfile", "run.yaml"]
OFTEN = ["--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1"]
SAID = "said.txt"
HANGS = 3000  # seconds: what takes longer is taken to hang, however busy the machine is

Run = subprocess.Popen[bytes]


def copied_with_environment(folder: Path) -> Path:
    """Copy the project into a new folder, with a link in it that stands for an environment made there."""
    folder.mkdir()
    return with_environment(copy_project(folder))


def with_environment(folder: Path) -> Path:
    """Give a project the link that stands for an environment made there."""
    (folder / ".venv").symlink_to(Path(sys.executable).parents[1])
    return folder


@contextmanager
def runs() -> Iterator[Callable[..., Run]]:
    """Give a function that starts Snakemake in a project; what a failed test leaves running is ended."""
    started: list[Run] = []

    def run(folder: Path, *arguments: str, **environment: str) -> Run:
        python = folder / ".venv/bin" / Path(sys.executable).name
        command = [str(python), "-m", "snakemake", *arguments, *PROFILE, *OFTEN]
        variables = os.environ | {"PYTHONPATH": str(folder)} | environment
        with (folder / SAID).open("w") as said:
            # A suite that a script has put into the background ignores Ctrl-C, and so would what it starts.
            kept = signal.signal(signal.SIGINT, signal.SIG_DFL)
            started.append(subprocess.Popen(command, cwd=folder, env=variables, stdout=said, stderr=said))
            signal.signal(signal.SIGINT, kept)
        return started[-1]

    try:
        yield run
    finally:
        for process in started:
            process.kill()
            process.wait()


def said(log: Path, pattern: str) -> bool:
    """Whether a log has come to a line."""
    return log.exists() and re.search(pattern, log.read_text()) is not None


def wait_for(ready: Callable[[], bool]) -> None:
    """Wait until something has happened."""
    for _ in range(10 * HANGS):
        if ready():
            return
        time.sleep(0.1)
    raise AssertionError("waited in vain")
