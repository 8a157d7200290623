"""A run that starts from weights made elsewhere."""

import copy
import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.workflow.conftest import SMALL, planned, snakemake_in, write_config

CELL = "digits/resnet20/seed0"


def test_a_run_starts_from_given_weights_and_anew_from_others(project: Path) -> None:
    (project / "my own").mkdir()
    weights = project / "my own/resnet20-0.pth"
    state = load_file(project / f"results/small/pretrain/{CELL}/model.safetensors")
    torch.save(state, weights)
    config = copy.deepcopy(SMALL) | {"name": "given"}
    config["pretrain"]["all"] |= {"epochs": 0, "weights": "./my own//{model}-{seed}.pth"}
    write_config(project, config)
    target = f"results/given/prune/{CELL}/random/plan.json"
    done = snakemake_in(project, "--cores", "2", target)
    assert done.returncode == 0, done.stdout + done.stderr
    found = load_file(project / f"results/given/pretrain/{CELL}/model.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    before, after = (
        json.loads((project / f"results/{run}/pretrain/{CELL}/record.json").read_text())["values"]
        for run in ("small", "given")
    )
    assert after["accuracy"] == before["accuracy"]
    assert planned(project, target) == {}
    torch.save({name: tensor * 2 for name, tensor in state.items()}, weights)
    assert planned(project, target) == {"pretrain": 1, "prune": 1}
    weights.unlink()
    refused = snakemake_in(project, "--dry-run", target)
    assert refused.returncode != 0
    assert (
        "expected a file of weights for resnet20 on digits, seed 0, but there is none at ./my own//resnet20-0.pth"
        in refused.stdout + refused.stderr
    )
