"""The whole chain on a few dozen images: what lies there afterwards, and what a change reruns."""

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
    assert said.index("To do:") < said.index("rule prepare:")


def test_learning_curves_show_every_network_of_the_cell(finished: Path) -> None:
    picture = (finished / f"results/small/curves/{CELL}/learning_curves.svg").read_text()
    for text in ("dense", "hap", "random", "hap qat8", "pretrain", "fine-tune", "quantization-aware"):
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
    command = [sys.executable, "workflow_scripts/next.py", "run.yaml"]
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
        "rounds": {"criterion": "gate", "curvature": "exact", "prune": {"normalise": "lamp", "rounds": 3}},
        "once": {"criterion": "gate", "curvature": "exact", "prune": {"normalise": "lamp"}},
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


def test_a_second_run_has_nothing_to_do(finished: Path) -> None:
    assert planned(finished) == {}


def test_new_file_times_alone_rerun_nothing(project: Path) -> None:
    for path in (project / "results").rglob("*"):
        os.utime(path)
    assert planned(project) == {}


def test_one_methods_setting_reruns_that_methods_cells_and_the_tables(project: Path) -> None:
    write_config(project, _config("methods|hap|finetune", {"learning_rate": 0.02}))
    assert planned(project) == {
        "finetune": 1,
        "evaluate_pruned": 1,
        "qat": 1,
        "evaluate_quantized": 1,
        "curves": 1,
        "tables": 1,
        "report": 1,
        "all": 1,
    }


def test_a_new_budget_reruns_from_prune_and_no_trace(project: Path) -> None:
    write_config(project, _config("methods|hap|prune", {"params": 0.5}))
    jobs = planned(project)
    assert jobs["prune"] == 1
    assert "trace" not in jobs
    assert "pretrain" not in jobs


def test_a_new_seed_adds_its_cells(project: Path) -> None:
    write_config(project, _config("grid|seeds", [0, 1]))
    jobs = planned(project)
    assert (jobs["pretrain"], jobs["trace"], jobs["finetune"], jobs["tables"]) == (1, 1, 2, 1)
    assert "prepare" not in jobs


def test_another_machine_reruns_nothing(project: Path) -> None:
    write_config(project, _config("machine", {"device": "auto", "threads": 2}))
    assert planned(project) == {}


def test_code_reruns_the_rules_that_use_it_and_comments_nothing(project: Path) -> None:
    path = project / "ehap/quantization/affine.py"
    path.write_text("# A comment.\n" + path.read_text())
    assert planned(project) == {}
    path.write_text(path.read_text().replace("torch.round(values / scale)", "torch.floor(values / scale)"))
    jobs = planned(project)
    assert jobs["qat"] == 2
    assert not {"pretrain", "trace", "prune", "finetune"} & set(jobs)


def test_a_criterions_code_reruns_from_prune_and_the_surgerys_no_training_before_it(project: Path) -> None:
    path = project / "ehap/pruning/scores.py"
    path.write_text(path.read_text().replace("(2 * rows.shape[1])", "(3 * rows.shape[1])"))
    assert set(planned(project)) == {
        "prune",
        "evaluate_unrecovered",
        "finetune",
        "evaluate_pruned",
        "qat",
        "evaluate_quantized",
        "curves",
        "shapes",
        "tables",
        "report",
        "all",
    }
    path = project / "ehap/pruning/surgery.py"
    path.write_text(path.read_text().replace("lint()", "lint() or None"))
    assert not {"prepare", "pretrain", "trace"} & set(planned(project))


def test_a_deleted_table_is_made_again(project: Path) -> None:
    (project / "results/small/tables/sizes.md").unlink()
    assert planned(project) == {"tables": 1, "all": 1}


def test_the_same_cell_twice_gives_identical_weights(finished: Path, tmp_path: Path) -> None:
    folder = copy_project(tmp_path)
    write_config(folder, _config("grid|methods", ["hap"]))
    result = snakemake_in(folder)
    assert result.returncode == 0, result.stdout + result.stderr
    for path in (
        f"pretrain/{CELL}/model.safetensors",
        f"trace/{CELL}/hutchinson-fp32/traces.safetensors",
        f"finetune/{CELL}/hap/model.safetensors",
        f"quantize/{CELL}/hap/qat8/weights.safetensors",
    ):
        first, second = (root / "results/small" / path for root in (finished, folder))
        assert first.read_bytes() == second.read_bytes(), path


def test_a_checkpoint_of_another_model_is_refused(finished: Path, tmp_path: Path) -> None:
    weights = finished / f"results/small/pretrain/{CELL}/model.safetensors"
    files = ["--plan", "plan.json", "--pruned", "pruned.safetensors", "--record", "record.json"]
    cell = ["--dataset", "digits", "--model", "resnet32", "--method", "random"]
    settings = ["--settings", '{"criterion": "random", "params": 0.3}']
    script = [sys.executable, str(ROOT / "workflow_scripts/prune.py"), "--checkpoint", str(weights)]
    result = subprocess.run(
        [*script, *files, *cell, *settings], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "expected weights of resnet32 on digits, seed 0, got weights of resnet20 on digits" in result.stderr
    assert not list(tmp_path.iterdir())


def test_the_looks_of_the_page_remake_the_page_only(project: Path) -> None:
    style = project / "ehap/report/assets/page.css"
    style.write_text(style.read_text() + "h1 { color: red; }")
    assert planned(project) == {"report": 1, "all": 1}
