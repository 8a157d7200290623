"""Bad input, as a user meets it: one clear line and an exit code other than 0, before long work starts."""

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.workflow.conftest import ROOT, SMALL, copy_project, snakemake_in, write_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(tmp_path_factory.mktemp("errors"))


def _changed(**blocks: Any) -> dict[str, Any]:
    config = copy.deepcopy(SMALL)
    for name, block in blocks.items():
        config[name] = config.get(name, {}) | block if isinstance(block, dict) else block
    return config


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (_changed(prune={"all": {"prune_ratio": 1.5}}), "prune.all: prune_ratio must lie in [0, 1), got 1.5"),
        (
            _changed(finetune={"all": {"epoch": 3}}),
            "finetune.all.epoch: unknown setting 'epoch'; expected one of epochs",
        ),
        (_changed(grid={"methods": ["happ"]}), "grid.methods: unknown method 'happ'; expected one of hap, random."),
        ({**_changed(), "name": None}, "name: expected letters, digits, - and _"),
        (_changed(grid={"models": ["vgg"]}), "grid.models: unknown model 'vgg'; expected one of resnet20, resnet32"),
    ],
)
def test_a_wrong_configuration_stops_the_dry_run(folder: Path, config: dict[str, Any], message: str) -> None:
    write_config(folder, config)
    result = snakemake_in(folder, "--dry-run")
    assert result.returncode != 0
    lines = [line for line in (result.stdout + result.stderr).splitlines() if line.strip()]
    assert any(message in line for line in lines), lines
    assert not any("Traceback" in line for line in lines)


def test_an_absent_dataset_is_named_before_any_training(folder: Path) -> None:
    write_config(folder, _changed(grid={"datasets": ["cifar10"]}, machine={"data_folder": "nowhere"}))
    result = snakemake_in(folder)
    text = result.stdout + result.stderr
    assert result.returncode != 0
    assert "error: there is no folder cifar-10-batches-py in nowhere/cifar10" in text
    assert "Traceback" not in text
    assert not (folder / "results/small/pretrain/cifar10").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU where there is none")
def test_a_gpu_that_is_not_there_is_said_at_once(folder: Path) -> None:
    write_config(folder, _changed(machine={"device": "cuda"}))
    result = snakemake_in(folder)
    assert result.returncode != 0
    assert "expected a GPU (device: cuda), but torch sees none on this machine" in result.stdout + result.stderr


def test_fp16_traces_on_a_cpu_are_refused_before_any_job_starts(folder: Path) -> None:
    write_config(folder, _changed(name="slow", curvatures={"hutchinson-fp32": {"precision": "fp16"}}))
    result = snakemake_in(folder)
    assert result.returncode != 0
    assert "error: curvature hutchinson-fp32: FP16 is about 80 times slower on a CPU; use precision" in result.stderr
    assert not (folder / "results/slow").exists()
    assert snakemake_in(folder, "--dry-run").returncode == 0  # a plan may be looked at anywhere
    accepted = {"hutchinson-fp32": {"precision": "fp16", "allow_cpu_fp16": True}}
    write_config(folder, _changed(name="slow", curvatures=accepted))
    result = snakemake_in(folder, "results/slow/prepare/digits/data.safetensors")
    assert result.returncode == 0, result.stderr


def test_fp16_traces_are_refused_where_the_gpus_are_hidden(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    config = _changed(name="hidden", curvatures={"hutchinson-fp32": {"precision": "fp16"}}, machine={"device": "auto"})
    write_config(folder, config)
    result = snakemake_in(folder)
    assert result.returncode != 0
    assert "error: curvature hutchinson-fp32: FP16 is about 80 times slower on a CPU; use precision" in result.stderr
    assert not (folder / "results/hidden").exists()


def test_the_papers_grid_is_listed_without_importing_torch(folder: Path) -> None:
    (folder / "torch.py").write_text("raise AssertionError('the dry run imported torch')\n")
    (folder / "run.yaml").write_text((ROOT / "config/config.yaml").read_text())
    result = snakemake_in(folder, "--dry-run", "--quiet", "all")
    (folder / "torch.py").unlink()
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_script_explains_itself(folder: Path) -> None:
    script = [sys.executable, str(ROOT / "workflow_scripts/pretrain.py")]
    usage = subprocess.run([*script, "--help"], capture_output=True, text=True, check=True).stdout
    assert "Train one dense network." in usage
    assert "names: checkpoint, history, record" in " ".join(usage.split())
    files = ["--input", "data=a", "--output", "checkpoint=b", "--output", "history=c", "--output", "record=d"]
    required = [*files, "--dataset", "digits"]
    for settings, message in (('{"epochs": 1}', "pretrain: missing learning_rate"), ("{", "--settings: expected JSON")):
        result = subprocess.run(
            [*script, *required, "--settings", settings], capture_output=True, text=True, check=False
        )
        assert result.returncode == 1
        assert result.stderr.startswith(f"error: {message}"), result.stderr


def test_every_configuration_that_ships_is_valid() -> None:
    from ehap.settings import Run

    for path in sorted((ROOT / "config").glob("*.yaml")):
        assert Run(yaml.safe_load(path.read_text())).name
