"""Cost and fidelity of channel traces, side by side: the published form, ours, exact, and other libraries.

Every measurement is a process of its own, so that its peak memory is its own; contenders take turns, and ratios are
medians over the rounds. A Hutchinson sample costs the same each time: what few samples took is scaled to 300.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas
import torch
from safetensors.torch import load_file, save_file
from torch.optim.swa_utils import update_bn

from benchmarks import trace_ways as benchmark
from benchmarks.results import write_benchmark
from ehap.curvature.stability import jaccard
from ehap.data import DATASETS, hessian_batch
from ehap.models import INPUT_SHAPE, build_model
from ehap.records import read_tensors
from ehap.results.figures import svg
from ehap.results.figures.traces import traces_by_network
from ehap.runtime.device import choose_device, device_name, slug
from ehap.runtime.files import write_atomically
from ehap.settings import Trace
from ehap.settings.names import MODELS
from ehap.settings.trace import Until
from ehap.stages.trace_until import planner_of

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--models", nargs="+", choices=MODELS, default=["resnet32", "resnet56", "wrn28_8"])
parser.add_argument("--classes", nargs="+", type=int, choices=[10, 100], default=[10, 100])
parser.add_argument("--batches", nargs="+", type=int, help="Hessian batch of each model")
parser.add_argument("--checkpoint", type=Path, help="a trained network (pretrain's); without it, new weights")
parser.add_argument("--data", type=Path, help="prepare's images for it; without it, random ones")
parser.add_argument("--samples", type=int, default=5, help="of each Hutchinson contender")
parser.add_argument("--fidelity-samples", nargs="*", type=int, default=[], help="also judge so many of our samples")
parser.add_argument("--micro-batch", type=int, help="of our Hutchinson; its own choice where left out")
parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
parser.add_argument("--threads", type=int, default=0, help="0: all")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--leave-out", nargs="*", default=[], help="contenders whose names begin so")
parser.add_argument("--folder", type=Path, default=Path("measurements"))
parser.add_argument("--name", default="bench_trace")
parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
args = parser.parse_args()
if min([args.samples, *args.fidelity_samples]) < 2:  # noqa: PLR2004
    parser.error("expected at least 2 samples: what one costs is told by the difference")
device = choose_device(args.device, args.threads or len(os.sched_getaffinity(0)))
# Of a single thread the processor's own clock counts, which stands still while other processes have their turn.
alone = device.type == "cpu" and torch.get_num_threads() == 1


def network_and_batch(model: str, classes: int, batch: int) -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    """Return a network in eval mode and its Hessian batch, on the device."""
    network = build_model(model, classes, seed=0).eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, *INPUT_SHAPE, generator=generator)
    labels = torch.randint(classes, (batch,), generator=generator)
    if args.checkpoint:
        network.load_state_dict(read_tensors(args.checkpoint)[0])
    if args.data:
        tensors, metadata = read_tensors(args.data)
        info = DATASETS[metadata["dataset"]]
        images, labels = hessian_batch(tensors["train_images"], tensors["train_labels"], info, batch, seed=0)
    network, images, labels = network.to(device), images.to(device), labels.to(device)
    if not args.checkpoint:  # with statistics of its own: else activations double from block to block, beyond FP16
        update_bn([images], network)
    return network, images, labels


def run_one(spec: dict[str, Any]) -> None:
    """Measure one contender in this process: its numbers go to stdout, its traces to a file.

    The gradient graph is paid once: 300 samples take what those that are run take, and the rest what one more takes.
    """
    batch = network_and_batch(spec["model"], spec["classes"], spec["batch"])
    settings = {key: value for key, value in spec.get("settings", {}).items() if value is not None}
    exact = settings.get("estimator") == "exact"
    samples = settings.get("samples", spec["samples"])

    clock = time.process_time if alone else time.perf_counter

    def ours(count: int) -> benchmark.Cost:
        began = clock()
        found = benchmark.ours(*batch, settings if exact else {**settings, "samples": count})
        return replace(found, seconds=clock() - began) if alone else found

    if spec["contender"] in benchmark.CONTENDERS:
        found = benchmark.CONTENDERS[spec["contender"]](*batch, samples, clock)
    else:
        found = ours(samples)
    whole = found.seconds
    if not exact:
        each = found.each or (found.seconds - ours(1).seconds) / (samples - 1)
        whole += (benchmark.PAPER_SAMPLES - samples) * each
    save_file({name: values.contiguous() for name, values in found.trace.items()}, spec["traces"])
    measured = {"seconds": found.seconds, "whole": whole, "samples": found.samples, "bytes": found.peak_memory_bytes}
    print(json.dumps(measured))


def contenders(classes: int) -> dict[str, dict[str, Any]]:
    """Return name → what to run; the first is what the others are compared with."""
    halves = ["bf16"] + (["fp16"] if device.type == "cuda" else [])
    found: dict[str, dict[str, Any]] = {name: {"contender": name} for name in benchmark.CONTENDERS}
    hutchinson = {"samples": args.samples, "micro_batch": args.micro_batch}
    for precision in ["fp32", *halves]:
        scale = 1.0 if precision == "fp32" else 256.0
        found[f"ours {precision}"] = {"settings": {**hutchinson, "precision": precision, "scale": scale}}
    for samples in args.fidelity_samples:
        found[f"ours fp32, {samples} samples"] = {"settings": {**hutchinson, "samples": samples}}
    for precision in ["fp32", *halves]:
        found[f"exact {precision}"] = {"settings": {"estimator": "exact", "precision": precision}}
    for tolerance in (0.3, 0.1, 0.03) if classes > 10 else (0.3,):  # noqa: PLR2004
        name = f"exact fp32, {100 * tolerance:.0f} % sketched"
        found[name] = {"settings": {"estimator": "exact", "eigen_tolerance": tolerance}}
    return {name: what for name, what in found.items() if not name.startswith(tuple(args.leave_out))}


def compare(model: str, classes: int, batch: int, scratch: Path) -> list[dict[str, Any]]:
    """Measure every contender in turn, several rounds, and return one row for each."""
    network, _, _ = network_and_batch(model, classes, 1)
    planner = planner_of(Trace(batch_size=1, until=Until(params=0.1)))(network.cpu())
    costs: dict[str, dict[int, dict[str, Any]]] = {}
    for number in range(args.rounds):
        for name, what in contenders(classes).items():
            if number and "samples" in name:  # judged for its traces only
                continue
            traces = scratch / f"{name}.safetensors"
            spec = {"contender": "", "samples": args.samples, **what, "model": model, "classes": classes}
            spec |= {"batch": batch, "traces": str(traces)}
            passed = ["--device", device.type, "--threads", str(torch.get_num_threads())]
            for flag, path in (("--checkpoint", args.checkpoint), ("--data", args.data)):
                passed += [flag, str(path)] if path else []
            command = [sys.executable, __file__, "--one", json.dumps(spec), *passed]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                print(f"{model}, {classes} classes, {name}: left out ({last})", file=sys.stderr)
                continue
            cost = json.loads(done.stdout.splitlines()[-1])
            costs.setdefault(name, {})[number] = cost
            print(f"{model}, {classes} classes, {name}: {cost['seconds']:.2f} s", file=sys.stderr)
    # New weights have no ranking that could be judged.
    reference = scratch / "exact fp32.safetensors"
    exact = load_file(reference) if args.checkpoint and "exact fp32" in costs else {}
    rows = []
    for name, rounds in costs.items():
        found = load_file(scratch / f"{name}.safetensors") if exact else {}

        def times_less_than(other: str, rounds: dict[int, dict[str, Any]] = rounds) -> float | None:
            both = [
                costs[other][number]["whole"] / one["whole"]
                for number, one in rounds.items()
                if number in costs.get(other, {})
            ]
            return statistics.median(both) if both else None

        faster, ours = times_less_than("published"), times_less_than("ours fp32")
        rows.append(
            {
                "model": model,
                "classes": classes,
                "batch": batch,
                "contender": name,
                "seconds": round(statistics.median(one["whole"] for one in rounds.values()), 2),
                "times_faster_than_published": None if faster is None else round(faster, 2),
                "products_worth": None if ours is None else round(benchmark.PAPER_SAMPLES / ours, 2),
                "peak_memory_mb": round(statistics.median(one["bytes"] for one in rounds.values()) / 1e6),
                "samples_run": rounds[0]["samples"] if 0 in rounds else None,
                "rounds": len(rounds),
                "spearman": round(benchmark.spearman(found, exact), 4) if found else None,
                "overlap": round(jaccard(planner(found), planner(exact)), 3) if found else None,
            }
        )
    return rows


def picture(table: pandas.DataFrame) -> bytes:
    """Draw overlap with the exact plan against the cost of what was run: of so many samples, not of 300."""
    run = table["samples_run"].where(table["samples_run"] > 0, benchmark.PAPER_SAMPLES) / benchmark.PAPER_SAMPLES
    shown = table.assign(cost=table["products_worth"] * run).dropna(subset=["overlap", "cost"])
    return svg(traces_by_network(shown, shown["cost"]))


def main() -> None:
    """Measure everything and write CSV, Markdown and a picture."""
    wide = 256 if device.type == "cuda" else 16
    batches = args.batches or [wide if model == "wrn28_8" else 512 for model in args.models]
    folder = args.folder / slug(device_name(device))
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    page = ""
    plan = [(classes, *cell) for classes in args.classes for cell in zip(args.models, batches, strict=True)]
    for number, (classes, model, batch) in enumerate(plan, 1):
        with tempfile.TemporaryDirectory() as scratch:
            rows += compare(model, classes, batch, Path(scratch))
        left = [f"{model} with {classes} classes" for classes, model, _ in plan[number:]]
        page = write(pandas.DataFrame(rows), folder, left)
    print(page)


def write(table: pandas.DataFrame, folder: Path, unfinished: Sequence[str]) -> str:
    """Write CSV, Markdown, and for a trained network the picture; return the Markdown."""
    if args.checkpoint:
        write_atomically(folder / f"{args.name}.svg", picture(table))
    clock = "of processor time of one thread, " if alone else ""
    note = (
        f"Seconds are {clock}for {benchmark.PAPER_SAMPLES} samples (as run, and the rest by what one more "
        "takes), or for the exact traces. Spearman and overlap (Jaccard, of the channels kept at 10 % of the "
        "parameters) are with exact fp32, on the samples that were run; only of a trained network."
    )
    weights = "a trained network" if args.checkpoint else "new weights"
    title = f"Cost and fidelity of channel traces on {device_name(device)}, {weights}"
    return write_benchmark(folder, {args.name: table}, title, note, unfinished)


if args.one:
    run_one(args.one)
else:
    main()
