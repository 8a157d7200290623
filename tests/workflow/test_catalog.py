"""The catalog says each thing once: what is written elsewhere for others to read must agree with it."""

import ast
from pathlib import Path

import pytest
import yaml

from ehap.settings import Machine
from ehap.settings.stages import CATALOG, SETTINGS
from ehap.workflow import internals
from ehap.workflow.catalog import FOLDERS, gpu_percent, groups
from tests.workflow.conftest import ROOT

SCRIPTS = ROOT / "workflow_scripts"


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


def test_scripts_keep_what_the_catalog_says_is_kept() -> None:
    for stage in CATALOG:
        script = SCRIPTS / f"{stage.name}.py"
        if script.exists():
            keywords = [node for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.keyword)]
            assert any(each.arg == "keep" for each in keywords) == stage.kept, stage.name


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
