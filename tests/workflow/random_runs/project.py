"""A project with stub stages in a temporary folder: edits and runs there, and what each of them has done."""

import functools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from tests.workflow.random_runs.grid import BY_FILE, JOBS, KNOBS, START, write_knob
from tests.workflow.warm_python import warm_python

ORDERS = ("order.json", "reached", "go")
LOCKED = "--unlock"


@functools.cache
def light_python() -> str:
    """The interpreter of all that runs here: it orders jobs the same way each time, and keeps compiled code."""
    before = dict(os.environ)
    os.environ["PYTHONHASHSEED"] = "0"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        return warm_python("light")
    finally:
        os.environ.update(before)
        if "PYTHONHASHSEED" not in before:
            del os.environ["PYTHONHASHSEED"]


@dataclass(frozen=True)
class Ended:
    """A run of Snakemake that has ended: exit code, what it said, jobs that have begun, and what jobs have made.

    reached: Whether the job that was waited for has come to its point.
    """

    code: int
    said: str
    begun: tuple[str, ...]
    made: tuple[tuple[str, str], ...]
    reached: bool = False


@dataclass(frozen=True)
class Orphan:
    """A job that goes on though its Snakemake was killed; it waits for ``Project.release``."""

    job: str
    number: int


class Project:
    """A project, the values of its knobs, and its jobs without a Snakemake.

    Args:
        folder: With the stub stages, and results or none.
        state: Of the knobs, as the files there have it.
        cores: That a run uses.
    """

    def __init__(self, folder: Path, state: dict[str, int] | None = None, cores: int = 1) -> None:
        self.folder, self.cores = folder, cores
        self.state = dict(state or START)
        self.orphan: Orphan | None = None

    def edit(self, knob: str, value: int, time: str = "newer") -> None:
        """Give a knob a value."""
        self.state[knob] = value % KNOBS[knob].values
        write_knob(self.folder, self.state, knob, time)

    def run(self, *arguments: str) -> Ended:
        """Run Snakemake to its end, unlocked before where it was killed; a job without Snakemake may go on then."""
        self._unlock()
        if self.orphan is None:
            return self._ended(self._start(*arguments), self._journal())
        log = self._log(self.orphan.job)
        log.unlink(missing_ok=True)
        before = self._journal()
        process = self._start(*arguments)
        while process.poll() is None and not (log.exists() and "another job is at work" in log.read_text()):
            time.sleep(0.01)
        self.release()
        return self._ended(process, before)

    def run_to(self, job: str, point: str, meanwhile: Callable[[int, int], None], *arguments: str) -> Ended:
        """Run Snakemake; once ``job`` has come to ``point``, do something, then let the job go on.

        Args:
            job: Of the grid.
            point: start, read or written.
            meanwhile: Takes the numbers of Snakemake's process and of the job's; is not called if the job does not run.
            arguments: Of Snakemake.
        """
        self.release()
        self._unlock()
        self._order(job, point, "wait")
        before = self._journal()
        process = self._start(*arguments)
        reached = self.folder / "reached"
        while process.poll() is None and not reached.exists():
            time.sleep(0.005)
        if not reached.exists():
            ended = self._ended(process, before)
            self._forget_orders()
            return ended
        number = int(reached.read_text())
        meanwhile(int((self.folder / "snakemake.pid").read_text()), number)
        if self.orphan is None:
            (self.folder / "go").touch()
        ended = self._ended(process, before)
        if self.orphan is None:
            _wait_for(number)
            self._forget_orders()
        return replace(ended, reached=True)

    def run_failing(self, job: str, point: str) -> Ended:
        """Run Snakemake; ``job`` fails at ``point``, once."""
        self.release()
        self._unlock()
        self._order(job, point, "fail")
        ended = self._ended(self._start(), self._journal())
        self._forget_orders()
        return ended

    def leave(self, job: str, number: int) -> None:
        """Take it that ``job`` goes on without Snakemake."""
        self.orphan = Orphan(job, number)

    def release(self) -> None:
        """Let the job without Snakemake go on, and wait until it has ended."""
        if self.orphan is not None:
            (self.folder / "go").touch()
            _wait_for(self.orphan.number)
            self.orphan = None
            self._forget_orders()

    def command(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command in the project."""
        tools = f"{Path(light_python()).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"PYTHONPATH": str(self.folder), "PATH": tools}
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def python(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run Python in the project."""
        return self.command(light_python(), *arguments)

    def contents(self) -> dict[str, str]:
        """Return the SHA-256 of every file of the results, by path; of a link to nothing, none."""
        paths = [path for path in (self.folder / "results").rglob("*") if path.is_file()]
        return {str(path.relative_to(self.folder)): sha256(path.read_bytes()).hexdigest() for path in paths}

    def _start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        command = [
            light_python(),
            "-m",
            "snakemake",
            *arguments,
            "--configfile",
            "run.yaml",
            "--cores",
            str(self.cores),
        ]
        with (self.folder / "said.txt").open("wb") as said:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    def _ended(self, process: "subprocess.Popen[bytes]", before: list[list[str]]) -> Ended:
        code = process.wait()
        new = self._journal()[len(before) :]
        begun = tuple(BY_FILE[first] for event, first, _ in new if event == "begun")
        made = tuple((BY_FILE[first], key) for event, first, key in new if event == "made")
        return Ended(code, (self.folder / "said.txt").read_text(), begun, made)

    def _journal(self) -> list[list[str]]:
        path = self.folder / "journal.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def _unlock(self) -> None:
        if any((self.folder / ".snakemake/locks").glob("*")):
            orphan = self.orphan
            ended = self._ended(self._start("--unlock"), self._journal())
            assert ended.code == 0, ended.said
            self.orphan = orphan

    def _order(self, job: str, point: str, what: str) -> None:
        self._forget_orders()
        (self.folder / "order.json").write_text(json.dumps([JOBS[job].files[0], point, what]))

    def _forget_orders(self) -> None:
        for name in ORDERS:
            (self.folder / name).unlink(missing_ok=True)

    def _log(self, job: str) -> Path:
        stage, *names = job.split("/")
        cell = "digits/resnet20/seed0"
        path = {
            "prepare": "prepare/digits",
            "trace": f"trace/{cell}/hutchinson-fp32",
            "part0": f"trace/{cell}/hutchinson-fp32/0-of-2",
            "part1": f"trace/{cell}/hutchinson-fp32/1-of-2",
            "tables": "tables",
            "report": "report",
        }.get(stage, "/".join([stage, cell, *names]))
        return self.folder / f"logs/small/{path}.log"


def _wait_for(number: int) -> None:
    while True:
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return
        time.sleep(0.005)


def kill(*numbers: int) -> None:
    """Kill processes, and wait until they are gone."""
    for number in numbers:
        os.kill(number, signal.SIGKILL)
    for number in numbers:
        _wait_for(number)


def copy_of(template: Path, folder: Path, cores: int = 1) -> Project:
    """Copy a project, times and Snakemake's notes included."""
    shutil.copytree(template, folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return Project(folder, cores=cores)
