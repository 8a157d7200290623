"""Seconds and peak memory of a repair's least squares, each model in a process of its own.

Weights are new, pruned by L2 with layer balance, and images are noise: neither changes the cost.
"""

import argparse
from functools import partial

import torch

from benchmarks.arguments import add_device, add_models, share, whole
from benchmarks.benchmark import Benchmark, Part, Row, Tables
from benchmarks.processes import alone
from ehap.data import CIFAR_SHAPE
from ehap.evaluation import flops, parameters
from ehap.graph.layers import layer_weights
from ehap.models import build_model
from ehap.pruning import Planner, magnitude, prune
from ehap.repair.reconstruction import reconstruct
from ehap.runtime.device import choose_device
from ehap.runtime.memory import PeakMemory
from ehap.settings import Prune


class LeastSquares(Benchmark):
    """The least squares of a repair without labels."""

    name = "reconstruct"

    @staticmethod
    def declare(parser: argparse.ArgumentParser) -> None:
        """Add models, images, the share of the parameters, and the device."""
        add_models(parser, ["resnet20", "resnet32", "resnet56", "wrn28_8"])
        parser.add_argument("--images", type=whole(1), default=2000)
        parser.add_argument(
            "--params", type=share, default=0.6, help="share of the parameters that is kept; default: 0.6"
        )
        add_device(parser, "1")

    def parts(self) -> list[Part]:
        """Return one part a model."""
        return [Part(model, partial(self.measure, model)) for model in self.args.models]

    def measure(self, model: str) -> list[Row]:
        """Return the row of a model."""
        args = self.args
        return [alone(measured, model, args.images, args.params, args.device, args.threads)]

    def title(self) -> str:
        """Return the heading of the page."""
        return f"Least squares of a repair on {self.device_name}"

    def about(self, tables: Tables) -> str:
        """Describe the numbers of the tables."""
        return (
            "Memory beyond networks and images. A layer has as many unknowns as inputs, and a bias. New weights, noise."
        )


def measured(model: str, images: int, params: float, where: str, threads: int) -> Row:
    """Return the row of a model, measured in this process."""
    device = choose_device(where, threads)
    dense = build_model(model, 10, seed=0).eval()
    chosen = Prune(criterion="magnitude", balance="lamp", params=params)
    kept = Planner(dense, CIFAR_SHAPE)(magnitude(layer_weights(dense)), *chosen.parts).kept
    pruned = prune(dense, kept).eval()
    noise = torch.randn(images, *CIFAR_SHAPE, generator=torch.Generator().manual_seed(0)).to(device)
    dense, pruned = dense.to(device), pruned.to(device)
    with PeakMemory(device) as memory:
        found = reconstruct(dense, pruned, kept, noise, held_out=0)
    return {
        "model": model,
        "images": images,
        "parameters_kept_percent": round(100 * parameters(pruned) / parameters(dense), 2),
        "flops_kept_percent": round(100 * flops(pruned, CIFAR_SHAPE) / flops(dense, CIFAR_SHAPE), 2),
        "most_unknowns": max(fit.unknowns for fit in found.fits),
        "seconds": round(found.seconds, 1),
        "peak_memory_gb": round(memory.bytes / 1e9, 3),
        "threads": threads,
    }


BENCHMARK = LeastSquares
