"""Every way to trace, prune, recover and deploy, from the configuration to the tables."""

import csv
import json
from pathlib import Path

import pytest
import torch

from ehap.records import read_tensors
from tests.workflow.conftest import planned, read_record, snakemake_in, write_config
from tests.workflow.test_run import CELL, _config


def test_traces_shared_out_over_jobs_are_those_of_one(project: Path) -> None:
    traces = project / f"results/small/trace/{CELL}/hutchinson-fp32/traces.safetensors"
    before = traces.read_bytes()
    write_config(project, _config("curvatures|hutchinson-fp32", {"precision": "fp32", "shards": 2}))
    assert planned(project)["trace_part"] == 2
    result = snakemake_in(project, str(traces.relative_to(project)))
    assert result.returncode == 0, result.stdout + result.stderr
    assert traces.read_bytes() == before
    assert not list(traces.parent.rglob("*-of-2.safetensors"))


def test_exact_traces_and_a_stable_plan_from_the_configuration(project: Path) -> None:
    config = _config("curvatures|exact", {"estimator": "exact"})
    config["curvatures"]["until"] = {"until": {"params": 0.3, "overlap": 0.2}, "samples": 60}
    config["methods"]["exact"] = {"criterion": "trace", "curvature": "exact"}
    config["methods"]["stable"] = {"criterion": "trace", "curvature": "until"}
    config["grid"]["methods"] = ["exact", "stable"]
    write_config(project, config)
    plans = [f"results/small/prune/{CELL}/{method}/plan.json" for method in ("exact", "stable")]
    result = snakemake_in(project, *plans)
    assert result.returncode == 0, result.stdout + result.stderr
    exact = read_record(project, f"trace/{CELL}/exact")
    assert exact["values"]["samples"]["value"] == 0
    assert "time_per_sample" not in exact["values"]
    stable = read_record(project, f"trace/{CELL}/until")
    assert stable["stage"] == "trace"
    assert stable["values"]["samples"]["value"] == 25
    assert stable["values"]["stable_overlap"]["value"] >= 20
    tensors, _ = read_tensors(project / f"results/small/trace/{CELL}/exact/traces.safetensors")
    assert all((tensor == 0).all() for name, tensor in tensors.items() if name.startswith("standard_error"))


def test_every_way_to_prune_and_to_recover_from_the_configuration(project: Path) -> None:
    config = _config("curvatures|exact", {"estimator": "exact", "criteria": ["trace", "gate", "taylor"]})
    config["methods"] |= {
        "rounds": {"criterion": "gate", "curvature": "exact", "prune": {"balance": "lamp", "rounds": 3}},
        "once": {"criterion": "gate", "curvature": "exact", "prune": {"balance": "lamp"}},
        "tied": {"criterion": "taylor", "curvature": "exact", "prune": {"residual": "tied", "flops": 0.4}},
        "slips": {"criterion": "trace", "curvature": "exact", "prune": {"rule": "as_published", "prune_ratio": 0.9}},
        "slim": {"criterion": "bn-scale", "finetune": {"recalibrate": 32, "distill": 0.5}},
        "scratch": {"criterion": "random", "prune": {"reinitialize": True}},
        "repaired": {
            "criterion": "gate",
            "curvature": "exact",
            "reconstruct": {"images": 40, "distill_steps": 6, "batch_size": 16},
            "finetune": {"epochs": 0},
        },
        "distilled": {"criterion": "magnitude", "reconstruct": {"images": [8, 40], "distill_steps": 2, "ridge": None}},
    }
    methods = ["rounds", "once", "tied", "slips", "slim", "scratch", "repaired", "distilled"]
    config["grid"] |= {"methods": methods, "schemes": []}
    write_config(project, config)
    result = snakemake_in(project)
    assert result.returncode == 0, result.stdout + result.stderr
    methods = [*methods[:-1], "distilled-images8", "distilled-images40"]
    plans = {
        method: json.loads((project / f"results/small/prune/{CELL}/{method}/plan.json").read_text())
        for method in methods
    }
    assert plans["rounds"]["kept"] != plans["once"]["kept"]
    for method in ("rounds", "once", "slim", "scratch"):
        assert plans[method]["parameters"] <= 0.3 * plans[method]["dense_parameters"]
    assert plans["tied"]["flops"] <= 0.4 * plans["tied"]["dense_flops"]
    assert plans["tied"]["kept"]["conv1"] == plans["tied"]["kept"]["layer1.1.conv2"]
    for method in methods:
        evaluated = read_record(project, f"evaluate/{CELL}/{method}")["values"]
        assert (evaluated["parameters"]["value"], evaluated["flops"]["value"]) == (
            plans[method]["parameters"],
            plans[method]["flops"],
        )
        assert set(read_record(project, f"evaluate_unrecovered/{CELL}/{method}")["values"]) == {
            "pruned_accuracy",
            "recalibrated_accuracy",
        }
    _, metadata = read_tensors(project / f"results/small/finetune/{CELL}/slips/model.safetensors")
    assert metadata["order"] == "set"
    assert read_record(project, f"finetune/{CELL}/scratch")["settings"]["epochs"] == 2  # of pretraining, too
    old, _ = read_tensors(project / f"results/small/pretrain/{CELL}/model.safetensors")
    new, _ = read_tensors(project / f"results/small/prune/{CELL}/scratch/model.safetensors")
    kept = plans["scratch"]["kept"]["conv1"]
    assert not torch.isclose(old["conv1.weight"][kept], new["conv1.weight"]).any()
    with (project / "results/small/tables/comparison.csv").open() as file:
        assert sorted(row["method"] for row in csv.DictReader(file)) == sorted(methods)
    _check_repairs(project)


def _check_repairs(project: Path) -> None:
    """What is repaired without labels: from the pruned network to the start of fine-tuning, and into its own table."""
    repaired = read_record(project, f"reconstruct/{CELL}/repaired")
    assert (repaired["values"]["images"]["value"], repaired["settings"]["ridge"]) == (40, 0.01)
    assert repaired["values"]["underdetermined_layers"]["value"] > 0  # 40 images of 8 x 8, 64 equations each at most
    of_only = set(read_record(project, f"reconstruct/{CELL}/distilled-images8")["values"])
    assert set(repaired["values"]) - of_only == {
        "reconstruct_time",
        "reconstructed_accuracy",
        "underdetermined_layers",
        "least_equations_per_unknown",
        "least_images_per_unknown",
        "last_layer_error",
        "unseen_error_reconstructed",
    }
    assert {"unseen_images", "unseen_error_before", "unseen_error_after"} <= of_only
    with (project / f"results/small/reconstruct/{CELL}/repaired/history.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2  # of three batches each
    stages = ("prune", "reconstruct", "finetune")
    pruned, before, after = (
        read_tensors(project / f"results/small/{stage}/{CELL}/repaired/model.safetensors")[0] for stage in stages
    )
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())  # no epoch of fine-tuning
    assert not torch.equal(pruned["conv1.weight"], before["conv1.weight"])
    evaluated = read_record(project, f"evaluate/{CELL}/repaired")["values"]["accuracy"]["value"]
    assert evaluated == repaired["values"]["distilled_accuracy"]["value"]
    with (project / "results/small/further/training_free.csv").open() as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"repaired", "distilled-images8", "distilled-images40"}
    assert rows["repaired"]["ranking"] == "gate (exact)"
    assert rows["distilled-images8"]["distilled_accuracy"] == ""
    for name in ("training_free.md", "training_free.svg", "training_free_images.svg"):
        assert (project / f"results/small/further/{name}").stat().st_size > 100


@pytest.mark.minutes
def test_quantized_networks_become_files_that_an_engine_executes(project: Path) -> None:
    config = _config("deploy", {"all": {"round_to": 16}}) | {"latency": {"all": {"batches": [2], "rounds": 2}}}
    config["schemes"] |= {"ptq8": {"epochs": 0, "calibration_images": 32}, "qat4": {"bits": 4}}
    config["grid"] |= {"methods": ["hap"], "schemes": ["qat8", "ptq8", "qat4"]}
    write_config(project, config)
    jobs = planned(project)
    assert (jobs["deploy"], jobs["latency"]) == (2, 2)  # engines take 8 bits
    assert jobs["deploy_dense"] == 1
    result = snakemake_in(project)
    assert result.returncode == 0, result.stdout + result.stderr
    for scheme in ("qat8", "ptq8"):
        values = read_record(project, f"deploy/{CELL}/hap/{scheme}")["values"]
        assert values["integer_operators"]["value"] == 32  # 21 convolutions, 9 sums, the pooling and the classifier
        assert values["mismatches"]["value"] <= 1
        simulated = read_record(project, f"evaluate/{CELL}/hap/{scheme}")["values"]["accuracy"]["value"]
        assert values["simulated_accuracy"]["value"] == pytest.approx(simulated)
        onnx_file = project / f"results/small/deploy/{CELL}/hap/{scheme}/model.onnx"
        assert values["onnx_size"]["value"] == onnx_file.stat().st_size
    assert read_record(project, f"quantize/{CELL}/hap/ptq8")["settings"]["epochs"] == 0
    assert not (project / f"results/small/deploy/{CELL}/hap/qat4").exists()
    record = f"results/small/latency/{CELL}/hap/qat8/record.json"
    (project / record).unlink()
    again = planned(project, record, f"results/small/latency/{CELL}/hap/ptq8/record.json")
    assert again == {"latency": 1}  # neither the dense network's files nor other networks' times are made again
    with (project / "results/small/further/deployment.csv").open() as file:
        assert [row["scheme"] for row in csv.DictReader(file)] == ["qat8", "ptq8"]
    assert "| hap | qat8 |" in " ".join((project / "results/small/further/deployment.md").read_text().split())
    with (project / "results/small/further/latency.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["scheme"], row["batch"], row["threads"]) for row in rows] == [("qat8", "2", "1"), ("ptq8", "2", "1")]
    assert all(row["accuracy"] and row["dense_accuracy"] for row in rows)
    page = (project / "results/small/report/index.html").read_text()
    assert "<figcaption>ResNet-20 on digits, 2 images at a time, 1 thread" in page
    assert "hap, ptq8, INT8" in page
