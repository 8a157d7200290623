"""Cost and fidelity of channel traces, side by side: the published form, ours, exact, and other libraries.

Every measurement is a process of its own, so that its peak memory is its own. Contenders take turns, and ratios are
medians over the rounds. Every Hutchinson sample costs the same: the cost of few samples is scaled to 300.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.arguments import add_device, add_models, add_rounds, existing, whole
from benchmarks.benchmark import Benchmark, Part, Row, Tables
from benchmarks.processes import alone
from benchmarks.trace_columns import cost_columns, judge, picture
from benchmarks.trace_peers import CONTENDERS
from benchmarks.trace_process import Case, Contender, alone_on_core, measure
from benchmarks.trace_ways import PAPER_SAMPLES
from benchmarks.weights import add_checkpoint, check_models
from ehap.errors import SettingsError


class ChannelTraces(Benchmark):
    """Traces of every model and number of classes, by every contender."""

    name = "trace"

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        check_models(args.checkpoint, args.models)
        wide = 256 if self.device.type == "cuda" else 16
        self.batches = args.batches or [wide if model == "wrn28_8" else 512 for model in args.models]
        if len(self.batches) != len(args.models):
            found = f"{len(self.batches)} for {len(args.models)} models"
            raise SettingsError(f"--batches wants one number a model, got {found}.")
        every = self.contenders(100, ())
        for word in args.leave_out:
            if not any(name.startswith(word) for name in every):
                raise SettingsError(f"--leave-out {word!r}: no contender's name begins so; all: {'; '.join(every)}.")

    @staticmethod
    def declare(parser: argparse.ArgumentParser) -> None:
        """Add networks, Hessian batches, samples, contenders and the device."""
        add_models(parser, ["resnet32", "resnet56", "wrn28_8"])
        parser.add_argument("--classes", nargs="+", type=int, choices=[10, 100], default=[10, 100])
        parser.add_argument("--batches", nargs="+", type=whole(1), help="Hessian batch of each model")
        add_checkpoint(parser)
        parser.add_argument("--data", type=existing, metavar="FILE", help="images of the prepare stage; default: noise")
        parser.add_argument("--samples", type=whole(2), default=5, help="of each Hutchinson contender; default: 5")
        more = "numbers of our samples whose traces are judged, too"
        parser.add_argument("--fidelity-samples", nargs="*", type=whole(2), default=[], help=more)
        parser.add_argument("--micro-batch", type=whole(1), help="of our Hutchinson; default: its own choice")
        parser.add_argument("--leave-out", nargs="*", default=[], help="contenders whose names begin so")
        add_rounds(parser, 3)
        add_device(parser, "0")

    def parts(self) -> list[Part]:
        """Return one part a model and number of classes."""
        cells = [
            (classes, *cell)
            for classes in self.args.classes
            for cell in zip(self.args.models, self.batches, strict=True)
        ]
        return [
            Part(f"{model} with {classes} classes", partial(self.measure, model, classes, batch))
            for classes, model, batch in cells
        ]

    def contenders(self, classes: int, leave_out: Sequence[str]) -> dict[str, Contender]:
        """Return name to contender; the first is the one that others are compared with."""
        samples = self.args.samples
        halves = ["bf16"] + (["fp16"] if self.device.type == "cuda" else [])
        mine = {} if self.args.micro_batch is None else {"micro_batch": self.args.micro_batch}
        found = {name: Contender(name, samples) for name in CONTENDERS}
        for precision in ["fp32", *halves]:
            scale = 1.0 if precision == "fp32" else 256.0
            found[f"ours {precision}"] = Contender("", samples, {**mine, "precision": precision, "scale": scale})
        for number in self.args.fidelity_samples:
            found[f"ours fp32, {number} samples"] = Contender("", number, mine)
        for precision in ["fp32", *halves]:
            found[f"exact {precision}"] = Contender("", samples, {"estimator": "exact", "precision": precision})
        for tolerance in (0.3, 0.1, 0.03) if classes == 100 else (0.3,):  # noqa: PLR2004
            sketched = {"estimator": "exact", "eigen_tolerance": tolerance}
            found[f"exact fp32, {100 * tolerance:.0f} % sketched"] = Contender("", samples, sketched)
        return {name: each for name, each in found.items() if not name.startswith(tuple(leave_out))}

    def measure(self, model: str, classes: int, batch: int) -> list[Row]:
        """Return a row for each contender that ran, all measured in turns."""
        args = self.args
        case = Case(model, classes, batch, args.checkpoint, args.data, self.device.type, args.threads)
        with TemporaryDirectory() as scratch:
            costs = self._costs(case, Path(scratch))
            judged = judge(case, costs, Path(scratch))
            return [
                {"model": model, "classes": classes, "batch": batch, "contender": name}
                | cost_columns(rounds, costs)
                | judged(name)
                for name, rounds in costs.items()
            ]

    def _costs(self, case: Case, scratch: Path) -> dict[str, dict[int, dict[str, Any]]]:
        """Return contender to its costs, and leave its traces in a file of its name."""
        costs: dict[str, dict[int, dict[str, Any]]] = {}
        for number in range(self.args.rounds):
            for name, contender in self.contenders(case.classes, self.args.leave_out).items():
                if number and "samples" in name:  # judged for its traces only
                    continue
                label = f"{case.model}, {case.classes} classes, {name}"
                try:
                    cost = alone(measure, case, contender, scratch / f"{name}.safetensors")
                except Exception as error:  # the others are worth having
                    said = (str(error).strip() or type(error).__name__).splitlines()[-1]
                    print(f"{label}: left out ({said})", file=sys.stderr)
                    continue
                costs.setdefault(name, {})[number] = cost
                print(f"{label}: {cost['seconds']:.2f} s", file=sys.stderr)
        return costs

    def title(self) -> str:
        """Return the heading of the page."""
        weights = "a trained network" if self.args.checkpoint else "new weights"
        return f"Cost and fidelity of channel traces on {self.device_name}, {weights}"

    def about(self, tables: Tables) -> str:
        """Describe the numbers of the tables."""
        clock = "of processor time of one thread, " if alone_on_core(self.device, self.args.threads) else ""
        return (
            f"Seconds are {clock}for {PAPER_SAMPLES} samples (as run, and the rest by the time of one more), or for "
            "the exact traces. Spearman and overlap (Jaccard, of the channels kept at 10 % of the parameters) are with "
            "exact fp32, on the samples that were run; only of a trained network."
        )

    def figures(self, tables: Tables) -> dict[str, bytes]:
        """Return overlap against cost, of a trained network."""
        drawn = picture(tables[""]) if self.args.checkpoint else None
        return {} if drawn is None else {"": drawn}


BENCHMARK = ChannelTraces
