"""The page of a run that has not begun, and what keeps a page from being made."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By

from tests.workflow.browser import (
    Driver,
    errors,
    opened,
    page_of,
    shot,
)
from tests.workflow.conftest import ROOT
from tests.workflow.warm_python import warm_python


def test_a_run_that_has_not_begun_says_how_to_begin(browser: Driver, tmp_path: Path) -> None:
    page = page_of(ROOT, tmp_path / "index.html", "config/config.yaml", "--results", str(tmp_path / "nothing"))
    opened(browser, page)
    assert errors(browser) == []
    assert ".venv/bin/snakemake --configfile config/config.yaml" in browser.find_element(By.TAG_NAME, "header").text
    commands = [code.get_attribute("textContent") for code in browser.find_elements(By.TAG_NAME, "code")]
    assert len(commands) > 3
    assert {command.split()[0] for command in commands} <= {".venv/bin/snakemake", "make"}
    shot(browser, "nothing_desktop")


def test_a_damaged_record_is_one_clear_line(finished: Path, tmp_path: Path) -> None:
    results = tmp_path / "small"
    shutil.copytree(finished / "results/small", results)
    damaged = results / "evaluate/digits/resnet20/seed0/hap/record.json"
    damaged.write_text(damaged.read_text()[:50])
    command = [warm_python(), "workflow_scripts/report_now.py", "run.yaml", "--results", str(results)]
    environment = os.environ | {"PYTHONPATH": str(finished)}
    done = subprocess.run(command, cwd=finished, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {damaged}: expected a record in JSON")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("script", ["report_now.py", "next.py"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, ": expected a configuration there; in {folder} there are: other."),
        ("name: [", ", line 2: expected YAML ("),
        ("", ": expected names and values as in config/config.yaml, got None."),
    ],
)
def test_a_configuration_that_cannot_be_read_is_one_clear_line(
    tmp_path: Path, text: str | None, said: str, script: str
) -> None:
    (tmp_path / "other.yaml").write_text("name: other")
    if text is not None:
        (tmp_path / "run.yaml").write_text(text)
    command = [warm_python(), f"workflow_scripts/{script}", str(tmp_path / "run.yaml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path / 'run.yaml'}{said.format(folder=tmp_path)}")
    assert len(done.stderr.splitlines()) == 1
