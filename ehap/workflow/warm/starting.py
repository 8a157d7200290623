"""Snakemake's side of the Python for short jobs: whether a run has one, its command, and what its jobs have used."""

import atexit
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
import uuid
from pathlib import Path
from shlex import quote
from typing import Any

from ehap.workflow.internals import check_form, environment_of_jobs, is_local, needed, needs_software
from ehap.workflow.warm import client
from ehap.workflow.warm.server import JOBS, OWNER

VARIABLE = "EHAP_WARM"
FEWEST = 4
"""Jobs of a run from which a server is worth its own start."""
SHORTEST, LONGEST, GROWTH = 0.5, 30.0, 1.5
"""Seconds between two looks at a process, at first and at most; and by how much they grow."""


class Servers:
    """The servers of one run of Snakemake, all in one folder that the run makes when it has planned enough jobs."""

    def __init__(self, workflow: Any) -> None:
        self.workflow = workflow
        self.path = os.pathsep.join(filter(None, [workflow.basedir, os.environ.get("PYTHONPATH")]))
        self.folder = Path(tempfile.gettempdir()) / f"ehap-{uuid.uuid4().hex[:12]}"

    def command(self) -> str:
        """Return the words of a shell that stand for Python."""
        words = [sys.executable]
        if self._can():
            words += ["-IS", client.__file__, str(self.folder)]
        return f"PYTHONPATH={quote(self.path)} {' '.join(map(quote, words))}"

    def open(self, threads: int) -> None:
        """Start a server, if the run has enough jobs; call it when Snakemake has planned.

        Args:
            threads: Of most jobs; for others the first job starts a server.
        """
        if self.workflow.dryrun or not self._can() or len(needed(self.workflow)) < FEWEST:
            return
        self.folder.mkdir(mode=0o700)  # whoever can write there can run commands as this user
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        (self.folder / JOBS).mkdir()
        (self.folder / OWNER).write_text(str(os.getpid()))
        follow_workers(self.folder)
        environment = environment_of_jobs(threads) | {"PYTHONPATH": self.path}
        address = client.address_of(str(self.folder), environment)
        self.server = client.start(str(self.folder), address, environment)
        while self.server.poll() is None and not os.path.exists(address):  # jobs are timed from their start
            time.sleep(0.02)

    def _can(self) -> bool:
        return (
            sys.platform == "linux"
            and os.environ.get(VARIABLE, "") != "0"
            and is_local(self.workflow)
            and not needs_software(self.workflow)
        )

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of the servers and of this process, without those of jobs."""
        import psutil

        found = [psutil.Process()]
        for process in psutil.process_iter(["cmdline"]):
            if str(self.folder) in (process.info["cmdline"] or [])[3:4]:
                found.append(process)
        with contextlib.suppress(psutil.NoSuchProcess):
            return sum(sum(process.cpu_times()[:2]) for process in found)
        return 0.0


def follow_workers(folder: Path) -> None:
    """Have Snakemake's benchmarks measure the process that a server forked for a job, as a child of the job's shell.

    What a process has used in all, by the system's account, replaces the time and memory that Snakemake saw. Shares of
    memory (USS, PSS) are seen at growing intervals.
    """
    import psutil
    from snakemake import benchmark

    check_form(benchmark, ("BenchmarkTimer", "DaemonTimer"), "benchmarks")
    check_form(benchmark.BenchmarkTimer, ("_schedule", "_action", "cancel"), "benchmarks")

    class Shell(psutil.Process):  # type: ignore[misc]
        def children(self, recursive: bool = False) -> list[psutil.Process]:
            found: list[psutil.Process] = super().children(recursive)
            try:
                worker = psutil.Process(int((folder / JOBS / str(self.pid)).read_text()))
                return [*found, worker, *worker.children(recursive)]
            except (OSError, ValueError, psutil.NoSuchProcess):  # none, ended, or not yet
                return found

    class Timer(benchmark.BenchmarkTimer):  # type: ignore[misc]
        def __init__(self, pid: int, *others: Any) -> None:
            super().__init__(pid, *others)
            self.main = Shell(pid)

        def _schedule(self) -> None:  # to read the memory of a large process costs milliseconds
            self._timer = benchmark.DaemonTimer(min(LONGEST, SHORTEST * GROWTH**self._times_called), self._action)
            self._timer.start()

        def cancel(self) -> None:
            super().cancel()
            try:
                used = json.loads((folder / JOBS / str(self.pid)).read_text())
                seconds, memory = used["cpu_seconds"], used["max_rss_mb"]
            except (OSError, ValueError, TypeError):  # an ordinary Python ran the job, or it was killed
                return
            record = self.bench_record
            if not record.data_collected:
                record.max_vms = record.max_uss = record.max_pss = record.io_in = record.io_out = "NA"
            record.data_collected = True
            record.cpu_time, record.cpu_usage = seconds, 100 * seconds
            record.max_rss = max(memory, record.max_rss or 0)

    benchmark.BenchmarkTimer = Timer
