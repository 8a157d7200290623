"""A method that ranks by a function of the user's, run for real on the small grid."""

import copy
import json
from pathlib import Path
from typing import Any

from tests.workflow.conftest import SMALL, planned, snakemake_in, write_config

SOURCE = """
import torch
from scores.helper import LAST

def score(network, images, labels):
    assert images.shape == (16, 3, 16, 16) and labels.shape == (16,) and images.mean().abs() < 2
    modules = {name: module for name, module in network.named_modules() if hasattr(module, "weight")}
    layers = {name: module.weight for name, module in modules.items() if module.weight.dim() > 1}
    return {name: LAST * torch.arange(len(weight)) for name, weight in layers.items()}
"""
CELL = "digits/resnet20/seed0"
PLAN = f"results/small/prune/{CELL}/own/plan.json"


def _config() -> dict[str, Any]:
    config = copy.deepcopy(SMALL)
    config["grid"]["methods"] = [*config["grid"]["methods"], "own"]
    config["methods"]["own"] = {"criterion": "scores.mine:score"}
    return config


def _kept(project: Path) -> list[int]:
    kept: list[int] = json.loads((project / PLAN).read_text())["kept"]["conv1"]
    return kept


def test_a_function_of_the_users_ranks_and_its_edits_rerun_its_methods_alone(project: Path) -> None:
    write_config(project, _config())
    result = snakemake_in(project, "--dry-run")
    assert result.returncode != 0
    message = "error in the configuration: methods.own: criterion scores.mine:score: there is no module scores.mine in"
    assert message in result.stdout + result.stderr
    folder = project / "scores"
    folder.mkdir()
    (folder / "mine.py").write_text(SOURCE)
    (folder / "helper.py").write_text("LAST = 1\n")
    assert planned(project)["prune"] == 1
    result = snakemake_in(project, PLAN)
    assert result.returncode == 0, result.stdout + result.stderr
    kept = _kept(project)
    assert 0 < len(kept) < 16
    assert kept == list(range(16))[-len(kept) :]
    assert planned(project, PLAN) == {}
    (folder / "mine.py").write_text(SOURCE + "# a comment\n")
    assert planned(project, PLAN) == {}
    (folder / "helper.py").write_text("LAST = -1\n")
    jobs = planned(project)
    others = planned(project, *(f"results/small/prune/{CELL}/{method}/plan.json" for method in ("hap", "random")))
    assert (jobs["prune"], others) == (1, {})
    result = snakemake_in(project, PLAN)
    assert result.returncode == 0, result.stdout + result.stderr
    assert _kept(project) == list(range(len(_kept(project))))
    (folder / "mine.py").write_text(SOURCE + "\nimport importlib\n")
    result = snakemake_in(project, "--dry-run")
    assert "importlib runs code that cannot be followed" in result.stdout + result.stderr
