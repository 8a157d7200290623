"""The table of stages, jobs and CPU seconds at the end of a run."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ehap.workflow.spent import Spent

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time"


def _job(folder: Path, rule: str, seconds: str, used: str, age: float = 0) -> Any:
    path = folder / f"{rule}{len(list(folder.iterdir()))}.tsv"
    path.write_text(f"{HEAD}\n{seconds}\t0:00:01\t1\t1\t1\t1\t1\t1\t1\t{used}\n")
    if age:
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    return SimpleNamespace(rule=SimpleNamespace(name=rule), benchmark=str(path))


def test_stages_stand_by_their_time_with_what_lies_outside_of_jobs(tmp_path: Path) -> None:
    spent = Spent([])
    spent.started -= 5
    spent.planned = [
        _job(tmp_path, "prune", "2.5", "2.25"),
        _job(tmp_path, "finetune", "30.0", "58.5"),
        _job(tmp_path, "prune", "0.4", "NA"),  # too short for Snakemake: what it took counts
        _job(tmp_path, "trace", "9.0", "9.0", age=3600),  # of an earlier run: this one's has failed
        SimpleNamespace(rule=SimpleNamespace(name="all"), benchmark=None),
        SimpleNamespace(rule=SimpleNamespace(name="qat"), benchmark=str(tmp_path / "none.tsv")),
    ]
    lines = [line.split() for line in spent.table(further=4.04).splitlines()]
    assert lines == [
        ["stage", "jobs", "CPU", "seconds", "longest", "job", "(s)"],
        ["finetune", "1", "58.5", "30.0"],
        ["prune", "2", "2.6", "2.5"],
        ["Snakemake,", "imports", "4.0"],
        ["in", "all", "3", "65.2", "in", "5", "s"],
    ]


def test_a_run_without_jobs_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = _job(tmp_path, "prune", "?", "2.25")
    Spent([broken]).say(3.0)
    assert capsys.readouterr().err == ""
    Spent([_job(tmp_path, "prune", "1.0", "0.9")]).say(3.0)
    assert "prune" in capsys.readouterr().err
