"""The catalog says each thing once: what is written elsewhere for others to read must agree with it."""

import re
from pathlib import Path

import pytest
import yaml

from ehap.settings import Machine
from ehap.settings.stages import CATALOG, SETTINGS
from ehap.workflow import command, command_line, internals
from ehap.workflow.catalog import FOLDERS, gpu_percent, groups, stage_of
from tests.workflow.conftest import ROOT, scripts_of_jobs

SCRIPTS = ROOT / "workflow_scripts"
OF_STAGE = {"trace_part": "trace", "deploy_dense": "deploy", "shapes": "curves"}
"""Scripts that write no record, and the stages that they belong to."""
KEPT_OTHERWISE = {"prune_rounds"}
"""Pruning takes seconds, and the catalog says so; in rounds it computes traces anew, which takes long."""
GPU_OTHERWISE = {"prune": "whole"}
"""Pruning takes no GPU, and the catalog says so; in rounds it computes traces, and takes what a trace does."""


def test_dvc_takes_the_folder_of_every_stage() -> None:
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["run"]["do"]
    paths = [Path(path) for out in stage["outs"] for path in out]
    folders = [path.parts[2] for path in paths if len(path.parts) == 3 and not path.suffix]
    wanted = [folder for folder in FOLDERS if folder != "tables"]  # whose files are named one by one
    assert sorted(folders) == sorted(wanted), "each folder is a line under outs in dvc.yaml"


def test_the_groups_of_slurm_are_those_of_the_catalog() -> None:
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    assert profile["groups"] == groups(), "each pair is a line under groups in profiles/slurm/config.yaml"


def test_every_stage_with_settings_is_in_the_catalog() -> None:
    names = [stage.name for stage in CATALOG]
    assert set(SETTINGS) <= set(names)
    assert len({*names, *(stage.place for stage in CATALOG)}) == len(names) + 1  # qat lies in quantize


def _stage_of(script: str) -> str:
    """Return the name of the stage that a script belongs to."""
    return OF_STAGE.get(script) or str(scripts_of_jobs()[script].get("stage", script))


def test_every_script_of_a_job_belongs_to_a_stage_and_every_stage_has_one() -> None:
    without = {"further"}  # a folder of the tables' script
    assert {_stage_of(script) for script in scripts_of_jobs()} == {stage.name for stage in CATALOG} - without


def test_scripts_keep_what_the_catalog_says_is_kept() -> None:
    keeping = {script for script, keywords in scripts_of_jobs().items() if keywords.get("keep")}
    kept = {script for script in scripts_of_jobs() if stage_of(_stage_of(script)).kept}
    assert keeping ^ kept == KEPT_OTHERWISE


def _rules() -> dict[str, str]:
    """Return every rule with its text; one that uses another has that one's text behind its own."""
    texts = [path.read_text() for path in (ROOT / "rules").glob("*.smk")]
    heads = re.compile(r"^(?:use rule (\w+) as|rule) (\w+)(?: with)?:\n((?:(?:[ ].*)?\n)+)", re.MULTILINE)
    found = {name: (used, body) for text in texts for used, name, body in heads.findall(text)}
    return {name: body + (found[used][1] if used else "") for name, (used, body) in found.items()}


def test_rules_take_the_share_of_a_gpu_that_the_catalog_says() -> None:
    rules = _rules()
    assert len(rules) == sum(path.read_text().count("\n    benchmark:\n") for path in (ROOT / "rules").glob("*.smk"))
    for rule, text in rules.items():
        of_stage, script = re.findall(r"script=(?:(\w+)_script|\"(\w+)\.py\"),", text)[0]
        gpu, percent = re.findall(r"\n +gpu=(.*),\n +gpu_percent=([^=]*),\n", text)[0]
        shares = {stage_of(name).gpu for name in re.findall(r'gpu_percent\("(\w+)"\)', percent)} or {"none"}
        stage = of_stage or _stage_of(script)
        assert shares == {GPU_OTHERWISE.get(stage) or stage_of(stage).gpu}, rule
        assert ("GPU" in gpu) == (shares != {"none"}), rule


def test_rules_name_the_parts_of_a_cell_that_scripts_take() -> None:
    assert [*command.CELL, "code"] == command_line.CELL  # rules give the digest of the code with an option of its own


def test_no_script_but_those_of_tables_and_page_reads_the_catalog() -> None:
    from ehap.workflow.digest import source_files  # with its caches

    for script in SCRIPTS.glob("*.py"):
        reached = {str(path.relative_to(ROOT)) for path in source_files(script, ROOT)}
        assert "ehap/workflow/cells.py" not in reached or script.stem in ("tables", "report", "report_now")
        assert "ehap/workflow/catalog.py" not in reached or script.stem in ("keep", "next", "report_now", "gpu_session")


@pytest.mark.parametrize(
    ("machine", "stage", "model", "percent"),
    [
        (Machine(device="cpu"), "pretrain", "resnet20", 0),
        (Machine(), "pretrain", "resnet20", 25),
        (Machine(), "pretrain", "wrn28_8", 50),
        (Machine(cells_per_gpu=1), "qat", "wrn28_8", 100),
        (Machine(), "quantize", "another", 25),
        (Machine(), "trace", "resnet20", 100),
        (Machine(), "reconstruct", "wrn28_8", 100),
        (Machine(), "deploy", "resnet20", 0),
    ],
)
def test_jobs_take_their_share_of_a_gpu(machine: Machine, stage: str, model: str, percent: int) -> None:
    assert gpu_percent(machine, stage, model) == percent


def test_the_internals_of_snakemake_are_those_of_the_pinned_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    pins = (ROOT / "envs/dev.txt").read_text()
    assert internals.__doc__ is not None
    for name, version in (("snakemake", "9.27.1"), ("snakemake-executor-plugin-slurm", "2.8.0")):
        assert version in internals.__doc__
        assert f"\n{name}=={version}" in pins, "read the changes of this version, and adapt ehap/workflow/internals.py"
    internals.check_version()
    monkeypatch.setattr("snakemake.__version__", "10.0.0")
    with pytest.raises(SystemExit, match=r"needs Snakemake below 10, got 10\.0\.0; run make install"):
        internals.check_version()
