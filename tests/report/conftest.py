"""The records of a small run of the paper's first cell, as the stages write them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ehap.graph.channels import channel_graph
from ehap.models import build_model
from ehap.report import Material
from ehap.settings import Tables
from ehap.stages.report import gathered
from ehap.workflow.cells import page_records

CONFIG = Path(__file__).parents[2] / "config"
CELL = "cifar10/resnet32"
SETTINGS = Tables(
    datasets=("cifar10",),
    models=("resnet32",),
    seeds=(0, 1),
    methods=("hap",),
    schemes=("qat8",),
    curvatures=("hutchinson-fp32",),
    deployed=("cifar10/resnet32/hap/qat8",),
)
TRAINED = {"train_accuracy": (99.0, "percent"), "train_loss": (0.1, "nats"), "seconds": (60.0, "s")}

Gather = Callable[..., Material]


def write(folder: Path, stage: str, values: dict[str, tuple[float, str]], **where: Any) -> Path:
    """Write one record where the workflow has it."""
    settings = where.pop("settings", {})
    named = {"qat": "quantize"}.get(stage, stage)
    parts = [str(where[key]) for key in ("method", "scheme", "curvature") if key in where]
    place = [CELL, f"seed{where['seed']}", *parts] if stage != "prepare" else ["cifar10"]
    path = folder.joinpath(named, *place, "record.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"stage": stage, "dataset": "cifar10", **({} if stage == "prepare" else {"model": "resnet32"}), **where}
    record |= {"values": {name: {"value": value, "unit": unit} for name, (value, unit) in values.items()}}
    record |= {
        "settings": settings,
        "code": "c0de",
        "device": "A CPU",
        "versions": {"torch": "2.15.0"},
        "duration_s": 30.0,
    }
    path.write_text(json.dumps(record))
    return path


def copied_to(folder: Path, results: Path, device: str, own: str = "A CPU") -> Path:
    """Copy records, histories and plans as another device would have written them."""
    for path in [*results.rglob("record.json"), *results.rglob("history.csv"), *results.rglob("plan.json")]:
        copy = folder / path.relative_to(results)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text().replace(json.dumps(own), json.dumps(device)))
    return folder


def evaluated(accuracy: float, parameters: int, size: int) -> dict[str, tuple[float, str]]:
    return {
        "accuracy": (accuracy, "percent"),
        "best_accuracy": (accuracy + 0.5, "percent"),
        "parameters": (parameters, "parameters"),
        "flops": (parameters * 300, "flop"),
        "file_size": (size, "bytes"),
        "published_size": ((8 if size > 2 * parameters else 4) * parameters, "bytes"),
    }


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results/tiny"
    images = {"train_images": (50_000, "images"), "test_images": (10_000, "images")}
    write(folder, "prepare", images, seed=0)
    layers = channel_graph(build_model("resnet32", 10)).widths()
    kept = {layer: list(range(width) if layer == "fc" else range(0, width, 8)) for layer, width in layers.items()}
    kept["layer1.0.conv2"] = [1, 8]
    for seed in (0, 1):
        accuracy = {"accuracy": (93.0 + seed, "percent"), "best_accuracy": (93.25 + seed, "percent")}
        files = [
            write(folder, "pretrain", accuracy | TRAINED, seed=seed, settings={"epochs": 300, "learning_rate": 0.1})
        ]
        write(folder, "evaluate", evaluated(93.0 + seed, 466_906, 1_894_900), seed=seed, method="dense")
        trace = {"samples": (300, "samples"), "hessian_batch": (512, "images"), "trace_time": (12.5, "s")}
        trace |= {"peak_memory": (2e9, "bytes")}
        write(folder, "trace", trace, seed=seed, curvature="hutchinson-fp32", settings={"batch_size": 512})
        sizes = {"parameters": (46_690, "parameters"), "dense_parameters": (466_906, "parameters")}
        sizes |= {"flops": (14e6, "flop"), "dense_flops": (138e6, "flop"), "channels": (1242, "channels")}
        sizes |= {"published_rule_differs": (3 + seed, "channels")}
        ranked = {"prune_ratio": 0.77214, "criterion": "trace", "balance": "none", "residual": "union"}
        plan = write(folder, "prune", sizes, seed=seed, method="hap", settings=ranked)
        plan.with_name("plan.json").write_text(json.dumps({"kept": kept}))
        write(folder, "evaluate_unrecovered", {"pruned_accuracy": (10.0, "percent")}, seed=seed, method="hap")
        accuracy = {"accuracy": (88.0 + seed, "percent"), "best_accuracy": (88.5 + seed, "percent")}
        files.append(write(folder, "finetune", accuracy | TRAINED, seed=seed, method="hap", settings={"epochs": 300}))
        write(folder, "evaluate", evaluated(88.0 + seed, 46_690, 198_000), seed=seed, method="hap")
        scheme = {"bits": 8, "activation_bits": None, "epochs": 30}
        files.append(write(folder, "qat", accuracy | TRAINED, seed=seed, method="hap", scheme="qat8", settings=scheme))
        write(folder, "evaluate", evaluated(88.25 + seed, 46_690, 51_000), seed=seed, method="hap", scheme="qat8")
        deployed = {"deployed_accuracy": (88.2, "percent"), "simulated_accuracy": (88.25, "percent")}
        deployed |= {"mismatches": (4 + seed, "images"), "integer_operators": (52, "operators")}
        deployed |= {"float_operators": (0, "operators")}
        deployed |= {"inductor_accuracy": (88.1, "percent"), "inductor_mismatches": (9, "images")}
        deployed |= {"packed_size": (51_000, "bytes"), "onnx_size": (90_000, "bytes")}
        deployed |= {"parameters": (46_690, "parameters")}
        write(folder, "deploy", deployed, seed=seed, method="hap", scheme="qat8")
        for path in files:
            rows = [f"{epoch},0.1,1.0,{50 + epoch},{40 + epoch},2.0" for epoch in range(1, 301)]
            head = "epoch,learning_rate,train_loss,train_accuracy,test_accuracy,seconds"
            path.with_name("history.csv").write_text("\n".join([head, *rows]) + "\n")
    return folder


@pytest.fixture
def benches(tmp_path: Path) -> Path:
    """Benchmarks of the device that the records name, and of another one."""
    folder = tmp_path / "measurements"
    (folder / "a-cpu").mkdir(parents=True)
    (folder / "a-gpu").mkdir()
    head = "model,batch,engine,network,precision,threads,weights,latency_ms,executed_parameters,kept_parameters\n"
    rows = [
        "resnet32,64,onnxruntime,dense,FP32,1,new,40.0,466906,466906",
        "resnet32,64,onnxruntime,dense,INT8,1,new,20.0,466906,466906",
        'resnet32,64,onnxruntime,"plain sums, aligned",FP32,1,new,30.0,140000,46690',
        'resnet32,64,onnxruntime,"plain sums, aligned",INT8,1,new,16.0,140000,46690',
        "resnet32,64,eager,dense,FP32,1,new,90.0,466906,466906",
    ]
    (folder / "a-cpu/bench_latency.csv").write_text(head + "\n".join(rows) + "\n")
    (folder / "a-gpu/bench_latency.csv").write_text(
        head + "resnet32,64,onnxruntime,dense,FP32,1,new,1.0,466906,466906\n"
    )
    head = "model,classes,batch,contender,seconds,peak_memory_mb,samples_run,spearman,overlap\n"
    rows = [
        "resnet32,10,512,published,3000,2000,3,0.2,0.3",
        "resnet32,10,512,plain,1500,2000,3,0.2,0.3",
        'resnet32,10,512,"ours fp32",600,600,3,0.3,0.4',
        'resnet32,10,512,"ours fp32, 30 samples",600,600,30,0.7,0.6',
        "resnet32,10,512,exact fp32,12,300,0,1.0,1.0",
    ]
    (folder / "a-cpu/bench_trace_trained.csv").write_text(head + "\n".join(rows) + "\n")
    return folder


@pytest.fixture
def gather(results: Path, tmp_path: Path) -> Gather:
    """Read what is there of the run now, and its benchmarks if there are any."""

    def gather(settings: Tables = SETTINGS) -> Material:
        paper = (CONFIG / "paper_results.csv", CONFIG / "paper_settings.csv", tmp_path / "measurements")
        return gathered(results, page_records(results, settings), *paper, settings, "--configfile tiny.yaml", "tiny")

    return gather
