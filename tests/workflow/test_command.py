"""The commands that the page of a run prints: they work as printed, and how a run is named reruns nothing."""

import html
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from ehap.workflow.command import command_options
from tests.workflow.conftest import planned, run_in, snakemake_in


@pytest.mark.parametrize(
    ("files", "values", "said"),
    [
        ([], {}, ""),
        (["config/demo.yaml"], {}, "--configfile config/demo.yaml"),
        (["a.yaml", "my own.yaml"], {}, "--configfile a.yaml 'my own.yaml'"),
        ([], {"name": "other"}, "--config name=other"),
        (
            ["run.yaml"],
            {"machine": {"data_folder": "/data"}, "download": True},
            '--configfile run.yaml --config \'machine={"data_folder": "/data"}\' download=True',
        ),
    ],
)
def test_options_name_the_files_and_values_of_a_run(files: list[str], values: dict[str, Any], said: str) -> None:
    assert command_options([Path(file) for file in files], values) == said
    assert command_options([Path(file).absolute() for file in files], values) == said  # as Snakemake has them


def _commands(page: Path) -> list[str]:
    return [
        html.unescape(found) for found in re.findall(r"<code>(\.venv/bin/snakemake [^<]*)</code>", page.read_text())
    ]


def test_what_the_page_of_the_rule_prints_works_as_printed(project: Path) -> None:
    page = "results/other/report/index.html"
    options = ["--config", "name=other", "machine={device: cpu, data_folder: /my data}"]
    said = snakemake_in(project, "--dry-run", "--printshellcmds", page, *options).stdout
    (made,) = re.findall(r"Shell command: (.*/report\.py .*)", said)
    run_in(project, "bash", "-c", made)  # before the records are there
    record = "results/other/evaluate/digits/resnet20/seed0/dense/record.json"
    (printed,) = {command for command in _commands(project / page) if "/evaluate/" in command}
    first, target, *rest = shlex.split(printed)
    assert (first, target) == (".venv/bin/snakemake", record)
    command = [sys.executable, "-m", "snakemake", target, *rest, "--dry-run", "--printshellcmds"]
    planned_jobs = run_in(project, *command)
    assert ": evaluate_dense: measure the dense resnet20 on digits, seed 0" in planned_jobs
    assert '"data_folder":"/my data"' in planned_jobs


def test_another_name_of_the_configuration_or_another_machine_makes_no_page_anew(project: Path) -> None:
    assert planned(project, "--config", "machine={device: cpu, threads: 2}") == {}
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--configfile", str(project / "run.yaml")]
    assert "Nothing to be done" in run_in(project, *command)
