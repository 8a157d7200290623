"""What the least squares of a repair cost: seconds and peak memory, each model in a process of its own.

New weights, pruned by L2 balanced over layers, and noise for images: neither changes the cost.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pandas
import torch

from benchmarks.results import write_benchmark
from ehap.evaluation import flops, parameters
from ehap.graph.layers import layer_weights
from ehap.models import INPUT_SHAPE, build_model
from ehap.pruning import Planner, magnitude, prune
from ehap.repair.reconstruction import reconstruct
from ehap.runtime.device import choose_device, device_name, slug
from ehap.runtime.memory import PeakMemory
from ehap.settings import Prune
from ehap.settings.names import MODELS


def measured(model: str, images: int, params: float, where: str, threads: int) -> dict[str, object]:
    """Return the row of a model."""
    device = choose_device(where, threads)
    dense = build_model(model, 10, seed=0).eval()
    chosen = Prune(criterion="magnitude", normalise="lamp", params=params)
    kept = Planner(dense, INPUT_SHAPE)(magnitude(layer_weights(dense)), chosen).kept
    pruned = prune(dense, kept).eval()
    noise = torch.randn(images, *INPUT_SHAPE, generator=torch.Generator().manual_seed(0)).to(device)
    dense, pruned = dense.to(device), pruned.to(device)
    with PeakMemory(device) as memory:
        found = reconstruct(dense, pruned, kept, noise, held_out=0)
    return {
        "model": model,
        "images": images,
        "parameters_kept_percent": round(100 * parameters(pruned) / parameters(dense), 2),
        "flops_kept_percent": round(100 * flops(pruned, INPUT_SHAPE) / flops(dense, INPUT_SHAPE), 2),
        "most_unknowns": max(fit.unknowns for fit in found.fits),
        "seconds": round(found.seconds, 1),
        "peak_memory_gb": round(memory.bytes / 1e9, 3),
        "threads": threads,
    }


def main() -> None:
    """Measure every model, and write the table after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["resnet20", "resnet32", "resnet56", "wrn28_8"])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--params", type=float, default=0.6, help="share of the parameters that is kept")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("measurements"))
    args = parser.parse_args()
    device = device_name(choose_device(args.device))
    folder = args.folder / slug(device)
    rows: list[dict[str, object]] = []
    for number, model in enumerate(args.models, 1):
        # Memory that a process has freed is not counted when it is used again.
        with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
            work = fresh.submit(measured, model, args.images, args.params, args.device, args.threads)
            rows.append(work.result())
        about = (
            "Memory beyond networks and images. Layers have as many unknowns as inputs, and a bias; new weights, noise."
        )
        tables, title = {"bench_reconstruct": pandas.DataFrame(rows)}, f"Least squares of a repair on {device}"
        page = write_benchmark(folder, tables, title, about, args.models[number:])
    print(page)


if __name__ == "__main__":
    main()
