"""Latency of {dense, pruned, plain sums, plain sums of aligned widths} × {FP32, INT8} × engines, side by side.

All contenders take turns in one process. A ratio divides medians over the rounds. Each row of an INT8 network has
the audit of its executed graph, and the bytes a parameter of its packed file.
"""

import argparse
import warnings
from abc import abstractmethod
from collections.abc import Mapping
from functools import partial

import torch
from torch import nn

from benchmarks.arguments import add_models, add_processor, add_rounds, clock_of, share, whole
from benchmarks.benchmark import Benchmark, Part, Row, Tables
from benchmarks.networks import ENGINES, NETWORKS, Call, Contender, contenders, in_float, in_integers, without_plan
from benchmarks.weights import add_checkpoint, check_models, network_of, noise
from ehap.data import CIFAR_SHAPE
from ehap.engines.exact_sums import how_exact
from ehap.evaluation import flops, parameters
from ehap.latency.turns import in_turns
from ehap.pruning import prune
from ehap.results.figures import svg
from ehap.results.figures.latency import latency_by_batch
from ehap.runtime.device import instruction_sets

Key = tuple[str, str, str]
"""Name of the network, precision, engine."""


class OnProcessor(Benchmark):
    """Base of the benchmarks of latency: models and batches on the processor."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.clock = clock_of(args)
        check_models(args.checkpoint, args.models)

    @staticmethod
    def declare(parser: argparse.ArgumentParser) -> None:
        """Add models, their weights and plans, batches, rounds, threads and clock."""
        add_models(parser, ["resnet32", "resnet56", "wrn28_8"])
        add_checkpoint(parser)
        parser.add_argument(
            "--params", type=share, default=0.1, help="share of the parameters that is kept by L2 norms"
        )
        parser.add_argument("--flops", type=share, help="share of the FLOPs that is kept at most; default: any")
        parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS, help="dense is always added")
        parser.add_argument("--batches", nargs="+", type=whole(1), default=[1, 64])
        add_rounds(parser, 15)
        add_processor(parser)

    def parts(self) -> list[Part]:
        """Return one part a model and batch."""
        return [
            Part(f"{model} with batch {batch}", partial(self._measured, model, batch))
            for model in self.args.models
            for batch in self.args.batches
        ]

    def _measured(self, model: str, batch: int) -> list[Row]:
        args = self.args
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of exporters
            dense = network_of(model, 10, args.checkpoint)
            return self.measure(model, batch, contenders(dense, args.params, args.flops, args.networks))

    @abstractmethod
    def measure(self, model: str, batch: int, found: Mapping[str, Contender]) -> list[Row]:
        """Return the rows of a model's networks, on batches of one size."""

    def title(self) -> str:
        """Return the heading of the page."""
        return f"Latency on {self.device_name}"

    def unit(self) -> str:
        """Return the beginning of the text about the numbers."""
        cpu = "of CPU time " if self.args.clock == "cpu" else ""
        turns = f"medians over {self.args.rounds} interleaved rounds, {self.args.threads} thread(s)"
        return f"Milliseconds {cpu}a batch, {turns}, instruction sets: {instruction_sets()}"

    def left_out(self, tables: Tables) -> str:
        """Return the sentence on networks without a plan; empty where all have one."""
        table = tables[""]
        found = {} if table.empty else {str(model): set(part) for model, part in table.groupby("model")["network"]}
        missing = without_plan([model for model in self.args.models if model in found], self.args.networks, found)
        return f" Left out, for too few parameters are to be kept: {'; '.join(missing)}." if missing else ""


class Latency(OnProcessor):
    """FP32 and INT8 of every network on every engine."""

    name = "latency"

    @staticmethod
    def declare(parser: argparse.ArgumentParser) -> None:
        """Add the engines."""
        OnProcessor.declare(parser)
        parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))

    def measure(self, model: str, batch: int, found: Mapping[str, Contender]) -> list[Row]:
        """Return a row for every network, precision and engine."""
        args, images = self.args, noise(batch)
        calls: dict[Key, Call] = {}
        audits: dict[Key, Row] = {}
        for name, each in found.items():
            for engine in args.engines:
                calls[name, "FP32", engine] = in_float(each.network, engine, images, args.threads)
                if engine != "eager" and (engine == "inductor" or "sums" in name or name == "dense"):
                    key = name, "INT8", engine
                    calls[key], audits[key] = in_integers(found["dense"].network, each, engine, images, args.threads)
        medians = in_turns(calls, images, args.rounds, self.clock)
        sizes = {name: sizes_of(found["dense"].network, each) for name, each in found.items()}
        rows = []
        for key, milliseconds in medians.items():
            name, precision, engine = key
            row: Row = {"model": model, "batch": batch, "engine": engine, "network": name, "precision": precision}
            row |= {"threads": args.threads, "weights": "trained" if args.checkpoint else "new"}
            row["instructions"] = instruction_sets()
            row["exact_sums"] = how_exact() if (precision, engine) == ("INT8", "onnxruntime") else ""
            row |= _times(medians, engine, milliseconds) | sizes[name] | audits.get(key, {})
            rows.append(row)
        return rows

    def about(self, tables: Tables) -> str:
        """Describe the numbers of the tables."""
        shares = f"{100 * self.args.params:g} % of parameters"
        shares += f" and {100 * self.args.flops:g} % of FLOPs" if self.args.flops else ""
        weights = "trained" if self.args.checkpoint else "new"
        about = f"{self.unit()}, BatchNorm folded, {weights} weights, at most {shares} kept."
        return about + self.left_out(tables)

    def figures(self, tables: Tables) -> dict[str, bytes]:
        """Return the bars of all rows."""
        return {"": svg(latency_by_batch(tables[""]))}


def sizes_of(dense: nn.Module, contender: Contender) -> Row:
    """Return the columns of a network's size, as executed and as kept."""
    kept = parameters(prune(dense, contender.kept))
    return {
        "executed_parameters": parameters(contender.network),
        "executed_mflop": round(flops(contender.network, CIFAR_SHAPE) / 1e6, 1),
        "kept_parameters": kept,
        "kept_parameters_percent": round(100 * kept / parameters(dense), 2),
    }


def _times(medians: Mapping[Key, float], engine: str, milliseconds: float) -> Row:
    row: Row = {"latency_ms": round(milliseconds, 3)}
    for precision in ("FP32", "INT8"):
        dense = medians.get(("dense", precision, engine))
        row[f"times_faster_than_dense_{precision}"] = None if dense is None else round(dense / milliseconds, 2)
    return row


BENCHMARK = Latency
