"""The whole chain on a few dozen images: the files that lie there afterwards, and what they hold."""

import copy
import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ehap.records import read_tensors
from tests.workflow.conftest import ROOT, SMALL, copy_project, planned, read_record, snakemake_in, write_config
from tests.workflow.warm_python import warm_python

CELL = "digits/resnet20/seed0"


def _config(path: str, value: object) -> dict[str, Any]:
    config = copy.deepcopy(SMALL)
    *folders, last = path.split("|")
    block = config
    for folder in folders:
        block = block[folder]
    block[last] = value
    return config


def test_every_stage_leaves_its_files(finished: Path) -> None:
    results = finished / "results/small"
    for path in (
        f"pretrain/{CELL}/model.safetensors",
        f"trace/{CELL}/hutchinson-fp32/traces.safetensors",
        f"prune/{CELL}/hap/plan.json",
        f"finetune/{CELL}/hap/model.safetensors",
        f"quantize/{CELL}/hap/qat8/weights.safetensors",
        f"evaluate/{CELL}/hap/qat8/record.json",
        "tables/pruned_accuracy.csv",
        "tables/quantized_accuracy.md",
        "tables/settings.csv",
        "tables/summary.json",
        "tables/comparison.md",
        "tables/paired.md",
        "tables/accuracy_by_size.svg",
        f"curves/{CELL}/learning_curves.svg",
        f"curves/{CELL}/kept_shares.svg",
        "report/index.html",
    ):
        assert (results / path).stat().st_size > 0, path
    assert not list(results.rglob("*.tmp"))
    assert (finished / f"logs/small/finetune/{CELL}/hap.log").read_text().endswith("done\n")
    assert (finished / f"logs/small/quantize/{CELL}/hap/qat8.tsv").exists()


def test_a_run_says_first_what_it_will_do(finished: Path) -> None:
    said = (finished / "said.txt").read_text()
    plan = said[said.index("To do:") :].splitlines()[1:11]
    assert [line.split()[:2] for line in plan[:8]] == [
        ["prepare", "1"],
        ["pretrain", "1"],
        ["trace", "1"],
        ["prune", "2"],
        ["evaluate_unrecovered", "2"],
        ["finetune", "2"],
        ["quantize", "2"],
        ["evaluate", "5"],
    ]
    assert said.index("To do:") < said.index(": prepare: read digits")


def test_learning_curves_show_every_network_of_the_cell(finished: Path) -> None:
    picture = (finished / f"results/small/curves/{CELL}/learning_curves.svg").read_text()
    titles = ("Training of the dense network", "Fine-tuning", "Quantization-aware training, qat8")
    for text in ("dense", "hap", "random", *titles):
        assert f">{text}<" in picture
    assert "resnet20 on digits, seed 0" in picture


def test_tensorboard_reads_the_event_files(project: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = _config("methods|hap|finetune", {"epochs": 2})
    config["machine"]["tensorboard"] = True
    write_config(project, config)
    result = snakemake_in(project, f"results/small/finetune/{CELL}/hap/record.json")
    assert result.returncode == 0, result.stdout + result.stderr
    events = EventAccumulator(str(project / f"logs/small/tensorboard/finetune/{CELL}/hap"))
    events.Reload()
    with (project / f"results/small/finetune/{CELL}/hap/history.csv").open() as file:
        history = list(csv.DictReader(file))
    assert len(history) == 2
    shown = [event.value for event in events.Scalars("train_loss")]
    assert shown == pytest.approx([float(row["train_loss"]) for row in history], rel=1e-6)


def test_what_comes_next_is_said_with_its_time(project: Path) -> None:
    write_config(project, _config("methods|random|finetune", {"epochs": 3}))
    command = [warm_python(), "workflow_scripts/next.py", "run.yaml"]
    environment = os.environ | {"PYTHONPATH": str(project)}
    result = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=True)
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["digits", "resnet20", "random"] in [row[:3] for row in rows]
    assert ["digits", "resnet20", "hap"] not in [row[:3] for row in rows]
    assert "no record yet" not in result.stdout
    networks = "{dense,random,random/qat8}"
    assert f"snakemake results/small/evaluate/digits/resnet20/seed0/{networks}/record.json" in result.stdout


def test_records_of_another_device_stand_in_the_tables_beside_ours(project: Path) -> None:
    elsewhere = project / "measurements/a-gpu/small"
    for stage in ("pretrain", "trace", "prune", "evaluate_unrecovered", "finetune", "evaluate"):
        shutil.copytree(project / f"results/small/{stage}", elsewhere / stage)
    for path in elsewhere.rglob("record.json"):
        record = json.loads(path.read_text())
        path.write_text(json.dumps(record | {"device": "A GPU"}))
    write_config(project, _config("also_read", ["measurements/a-gpu/small"]))
    assert planned(project) == {"tables": 1, "report": 1, "all": 1}
    result = snakemake_in(project)
    assert result.returncode == 0, result.stdout + result.stderr
    with (project / "results/small/tables/overview.csv").open() as file:
        rows = [(row["method"], row["device"] == "A GPU", row["n"]) for row in csv.DictReader(file)]
    assert sorted(rows) == sorted((method, gpu, "1") for method in ("dense", "hap", "random") for gpu in (False, True))
    shutil.rmtree(elsewhere)
    result = snakemake_in(project, "--dry-run")
    assert "also_read: expected a folder of records, but there is none at measurements/a-gpu/small" in result.stderr


def test_records_agree_with_each_other_and_with_the_files(finished: Path) -> None:
    results = finished / "results/small"
    plan = json.loads((results / f"prune/{CELL}/hap/plan.json").read_text())
    pruned = read_record(finished, f"evaluate/{CELL}/hap")["values"]
    dense = read_record(finished, f"evaluate/{CELL}/dense")["values"]
    assert pruned["parameters"]["value"] == plan["parameters"] <= 0.3 * dense["parameters"]["value"]
    assert dense["parameters"]["value"] == 272_474
    assert pruned["flops"]["value"] < dense["flops"]["value"]
    quantized = read_record(finished, f"evaluate/{CELL}/hap/qat8")["values"]
    weights = results / f"quantize/{CELL}/hap/qat8/weights.safetensors"
    assert quantized["file_size"]["value"] == weights.stat().st_size < 1.2 * plan["parameters"]
    tuned = read_record(finished, f"finetune/{CELL}/hap")
    assert tuned["values"]["accuracy"]["value"] == pruned["accuracy"]["value"]
    assert (tuned["seed"], tuned["method"], len(tuned["code"])) == (0, "hap", 16)
    with (results / f"pretrain/{CELL}/history.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1"]


def test_traces_hold_every_layer_with_standard_errors(finished: Path) -> None:
    tensors, metadata = read_tensors(finished / f"results/small/trace/{CELL}/hutchinson-fp32/traces.safetensors")
    cell = {"model": "resnet20", "dataset": "digits", "seed": 0}
    assert metadata == {**cell, "curvature": "hutchinson-fp32", "kept": None}
    assert sum(len(values) for name, values in tensors.items() if name.startswith("trace.")) == 794
    assert all(torch.isfinite(values).all() for values in tensors.values())


def test_the_same_cell_twice_gives_identical_weights(finished: Path, tmp_path: Path) -> None:
    folder = copy_project(tmp_path)
    write_config(folder, _config("grid|methods", ["hap"]))
    paths = [
        f"results/small/pretrain/{CELL}/model.safetensors",
        f"results/small/trace/{CELL}/hutchinson-fp32/traces.safetensors",
        f"results/small/finetune/{CELL}/hap/model.safetensors",
        f"results/small/quantize/{CELL}/hap/qat8/weights.safetensors",
    ]
    result = snakemake_in(folder, *paths)
    assert result.returncode == 0, result.stdout + result.stderr
    for path in paths:
        assert (finished / path).read_bytes() == (folder / path).read_bytes(), path


def test_a_checkpoint_of_another_model_is_refused(finished: Path, tmp_path: Path) -> None:
    weights = finished / f"results/small/pretrain/{CELL}/model.safetensors"
    files = ["--input", f"checkpoint={weights}", "--output", "plan=plan.json", "--output", "pruned=pruned.safetensors"]
    files += ["--output", "record=record.json"]
    cell = ["--dataset", "digits", "--model", "resnet32", "--method", "random"]
    settings = ["--settings", '{"criterion": "random", "params": 0.3}']
    script = [sys.executable, str(ROOT / "workflow_scripts/prune.py")]
    result = subprocess.run(
        [*script, *files, *cell, *settings], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "expected weights of resnet32 on digits, seed 0, got weights of resnet20 on digits" in result.stderr
    assert not list(tmp_path.iterdir())
