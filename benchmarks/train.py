"""Training speed beside a DataLoader with torchvision's transforms, and cells side by side on one device."""

import argparse
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pandas

from benchmarks import train_ways as benchmark
from benchmarks.results import write_benchmark
from ehap.runtime.device import choose_device, device_name, slug
from ehap.settings.names import MODELS

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
parser.add_argument("--precisions", nargs="+", choices=["fp32", "fp16", "bf16"], default=["fp32", "bf16"])
parser.add_argument("--steps", nargs="+", choices=["eager", "compile", "graphs"], help="eager, on a GPU graphs too")
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--cells", nargs="*", type=int, help="so many side by side; 1 2, on a GPU 1 2 4 8")
parser.add_argument("--folder", type=Path, default=Path("measurements"))
parser.add_argument("--one-cell", type=int, metavar="THREADS", help=argparse.SUPPRESS)
args = parser.parse_args()


def wait_for_the_others() -> None:
    """Say that this cell is warm, and start when all are."""
    print("ready", flush=True)
    sys.stdin.readline()


def side_by_side(command: list[str], cells: int) -> float:
    """Return images a second of so many cells that train at the same time, together."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    jobs = [subprocess.Popen(command, **pipes) for _ in range(cells)]  # type: ignore[call-overload]
    for job in jobs:
        if job.stdout.readline().strip() != "ready":
            for other in jobs:
                other.kill()
            raise SystemExit("error: a cell ended before it was warm; its message stands above.")
    for job in jobs:
        job.stdin.write("go\n")
        job.stdin.flush()
    return sum(float(job.communicate()[0]) for job in jobs)


cores = benchmark.cores()
device = choose_device(args.device, args.one_cell or cores)
on_gpu = device.type == "cuda"
args.steps = args.steps or ["eager", *(["graphs"] if on_gpu else [])]
args.cells = [1, 2, *([4, 8] if on_gpu else [])] if args.cells is None else args.cells
if args.one_cell:
    rate = benchmark.training_rate(args.models[0], device, args.precisions[0], args.steps[0], 10.0, wait_for_the_others)
    print(rate)
    sys.exit()

print("data alone", file=sys.stderr)
compared = [benchmark.compare_augmentation(device, workers, args.rounds) for workers in (0, cores)]
for model in args.models:
    for precision in args.precisions:
        for step in args.steps:
            print(f"{model}, {precision}, {step}", file=sys.stderr)
            compared.append(benchmark.compare_training(model, device, cores, args.rounds, precision, step))
speed = pandas.DataFrame(map(asdict, compared)).round({"ours": 0, "usual": 0, "ratio": 2, "data_share": 2})

packed = []
for model in args.models:
    for cells in args.cells:
        threads = max(1, cores // cells)
        again = ["--models", model, "--device", device.type, "--precisions", args.precisions[0]]
        command = [sys.executable, __file__, *again, "--steps", args.steps[0], "--one-cell", str(threads)]
        print(f"{cells} cells of {model} side by side", file=sys.stderr)
        together = side_by_side(command, cells)
        packed.append({"model": model, "cells": cells, "threads": threads, "images_per_second": round(together)})

folder = args.folder / slug(device_name(device))
tables = {"bench_train": speed, "bench_train_cells": pandas.DataFrame(packed)}
print(write_benchmark(folder, tables, f"Training speed on {device_name(device)}"))
