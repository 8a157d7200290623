"""Training speed beside a DataLoader with torchvision's transforms, and of cells side by side on one device."""

import argparse
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

from benchmarks.arguments import add_device, add_models, add_rounds, whole
from benchmarks.benchmark import Benchmark, Part, Row
from benchmarks.processes import together
from benchmarks.train_ways import Comparison, compare_augmentation, compare_training, training_rate
from ehap.runtime.device import choose_device
from ehap.settings.checks import Precision
from ehap.settings.machine import Step
from ehap.settings.names import MODELS

SECONDS = 10.0  # of trainings side by side


class TrainingSpeed(Benchmark):
    """Augmentation alone, whole steps, and several trainings at the same time."""

    name = "train"

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        on_gpu = self.device.type == "cuda"
        self.steps: list[Step] = args.steps or ["eager", *(["graphs"] if on_gpu else [])]
        self.cells = [1, 2, *([4, 8] if on_gpu else [])] if args.cells is None else args.cells

    @staticmethod
    def declare(parser: argparse.ArgumentParser) -> None:
        """Add models, precisions, steps, cells and the device."""
        add_models(parser, list(MODELS))
        parser.add_argument("--precisions", nargs="+", choices=["fp32", "fp16", "bf16"], default=["fp32", "bf16"])
        steps = "default: eager, on a GPU graphs, too"
        parser.add_argument("--steps", nargs="+", choices=["eager", "compile", "graphs"], help=steps)
        cells = "numbers of trainings side by side; default: 1 2, on a GPU 1 2 4 8"
        parser.add_argument("--cells", nargs="*", type=whole(1), help=cells)
        add_rounds(parser, 5)
        add_device(parser, "0")

    def parts(self) -> list[Part]:
        """Return the comparisons, and then the trainings side by side, which have a table of their own."""
        args = self.args
        alone = [
            Part(f"augmentation, {workers} workers", partial(self._augmentation, workers))
            for workers in (0, args.threads)
        ]
        steps = [
            Part(f"{model}, {precision}, {step}", partial(self.measure, model, precision, step))
            for model in args.models
            for precision in args.precisions
            for step in self.steps
        ]
        cells = [
            Part(f"{cells} of {model}", partial(self._side_by_side, model, cells), "_cells")
            for model in args.models
            for cells in self.cells
        ]
        return [*alone, *steps, *cells]

    def measure(self, model: str, precision: Precision, step: Step) -> list[Row]:
        """Return the row of whole training steps."""
        args = self.args
        return _rows(compare_training(model, self.device, args.threads, args.rounds, precision, step))

    def _augmentation(self, workers: int) -> list[Row]:
        return _rows(compare_augmentation(self.device, workers, self.args.rounds))

    def _side_by_side(self, model: str, cells: int) -> list[Row]:
        threads = max(1, self.args.threads // cells)
        way = model, self.device.type, threads, self.args.precisions[0], self.steps[0]
        rate = sum(together(rate_of_cell, [way] * cells))
        return [{"model": model, "cells": cells, "threads": threads, "images_per_second": round(rate)}]

    def title(self) -> str:
        """Return the heading of the page."""
        return f"Training speed on {self.device_name}"


def rate_of_cell(
    model: str, device: str, threads: int, precision: Precision, step: Step, warm: Callable[[], None]
) -> float:
    """Return the images a second of a training in this process; ``warm`` returns when all of them are warm."""
    return training_rate(model, choose_device(device, threads), precision, step, SECONDS, warm)


def _rows(found: Comparison) -> list[Row]:
    digits = {"ours": 0, "usual": 0, "ratio": 2, "data_share": 2}
    return [{name: round(value, digits[name]) if name in digits else value for name, value in asdict(found).items()}]


BENCHMARK = TrainingSpeed
