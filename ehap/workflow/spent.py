"""Where the time of a run went: stages, their jobs and CPU seconds, by Snakemake's benchmarks of the jobs."""

import csv
import sys
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ehap.workflow.internals import benchmark_of, rule_of

COARSE = 1.0  # seconds by which a file system may be behind


@dataclass
class Stage:
    """The jobs of one rule that have ended: their CPU seconds, and the seconds of the longest."""

    jobs: int = 0
    cpu_seconds: float = 0.0
    longest: float = 0.0


@dataclass
class Spent:
    """The time of one run of Snakemake, from its start on."""

    planned: Collection[Any]
    started: float = field(default_factory=time.time)

    def say(self, further: float) -> None:
        """Print the table, if any job has ended."""
        text = self.table(further)
        if text:
            print(f"\n{text}\n", file=sys.stderr)

    def table(self, further: float = 0.0) -> str:
        """Return stages, jobs and CPU seconds as text, the longest first; empty where no job has ended.

        Args:
            further: CPU seconds of this run outside its jobs.
        """
        stages = by_stage((rule_of(job), benchmark_of(job)) for job in self.planned if self._is_new(job))
        if not stages:
            return ""
        rows = sorted(stages.items(), key=lambda item: -item[1].cpu_seconds)
        if further:
            rows.append(("Snakemake, imports", Stage(0, further, 0.0)))
        total = Stage(sum(each.jobs for _, each in rows), sum(each.cpu_seconds for _, each in rows))
        lines = [_line("stage", "jobs", "CPU seconds", "longest job (s)")]
        lines += [
            _line(name, each.jobs or "", f"{each.cpu_seconds:.1f}", f"{each.longest:.1f}" if each.jobs else "")
            for name, each in rows
        ]
        lines.append(_line("in all", total.jobs, f"{total.cpu_seconds:.1f}", f"in {time.time() - self.started:.0f} s"))
        return "\n".join(lines)

    def _is_new(self, job: Any) -> bool:
        path = benchmark_of(job)
        return path is not None and path.exists() and path.stat().st_mtime > self.started - COARSE


def by_stage(benchmarks: Iterable[tuple[str, Path | None]]) -> dict[str, Stage]:
    """Return the sums of Snakemake's benchmark files by the names given with them; unreadable ones are left out."""
    found: dict[str, Stage] = {}
    for name, path in benchmarks:
        try:
            with (path or Path()).open(newline="") as file:
                row = next(csv.DictReader(file, delimiter="\t"))
            seconds = float(row["s"])
            # Snakemake measures every half a second; it says nothing of a job that ends before that.
            used = float(row["cpu_time"]) if row["cpu_time"] not in ("NA", "-") else seconds
        except (OSError, StopIteration, KeyError, ValueError):
            continue
        stage = found.setdefault(name, Stage())
        stage.jobs += 1
        stage.cpu_seconds += used
        stage.longest = max(stage.longest, seconds)
    return found


def _line(*words: Any) -> str:
    name, jobs, used, longest = map(str, words)
    return f"{name:<22}{jobs:>6}{used:>13}{longest:>17}"
