"""Latency in INT8 of evenly thinned networks (each layer keeps the same share of channels) beside the dense one.

A ranking decides which layers keep channels. So it decides the speed of a network of a given size. Evenly thinned
networks show the effect of widths alone, and the smallest layers that an engine still rewards. Widths stay, or are
padded to multiples of 16. ONNX Runtime's own profile gives the share of time in convolutions and sums.
"""

import argparse
import json
import warnings
from collections import Counter
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime
import torch
from torch import Tensor, nn

from benchmarks.arguments import add_models, add_processor, add_rounds, clock_of, share, whole
from benchmarks.benchmark import Benchmark, Part, Row, Tables
from benchmarks.networks import quantized
from benchmarks.weights import network_of, noise
from ehap.data import CIFAR_SHAPE
from ehap.engines.exact_sums import how_exact, set_option_
from ehap.engines.onnxruntime import OnnxNetwork, exported, to_onnx
from ehap.evaluation import flops, parameters
from ehap.graph.channels import Kept
from ehap.graph.folding import fuse_norms
from ehap.graph.layers import layer_weights
from ehap.latency.turns import in_turns
from ehap.pruning import prune
from ehap.runtime.device import instruction_sets

CALLS = 3  # that are profiled


class Widths(Benchmark):
    """The dense network in FP32 and INT8, and every share in INT8, in turns."""

    name = "widths"

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.clock = clock_of(args)

    @staticmethod
    def declare(parser: argparse.ArgumentParser) -> None:
        """Add models, shares, multiples, the batch, rounds, threads and clock."""
        add_models(parser, ["resnet32", "resnet56", "wrn28_8"])
        shares, default = "of the channels of a layer; default: 0.5 0.316 0.2 0.1", [0.5, 0.316, 0.2, 0.1]
        parser.add_argument("--shares", nargs="+", type=share, default=default, help=shares)
        padded = "multiples to which widths are padded; default: 1 16"
        parser.add_argument("--round-to", nargs="+", type=whole(1), default=[1, 16], help=padded)
        parser.add_argument("--batch", type=whole(1), default=64)
        add_rounds(parser, 9)
        add_processor(parser)

    def parts(self) -> list[Part]:
        """Return one part a model."""
        return [Part(model, partial(self._measured, model)) for model in self.args.models]

    def _measured(self, model: str) -> list[Row]:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of exporters
            return self.measure(model)

    def measure(self, model: str) -> list[Row]:
        """Return a row for the dense network in FP32, in INT8 and for every share."""
        args, dense, images = self.args, network_of(model, 10, None), noise(self.args.batch)
        files = {
            (part, round_to): in_integers(dense, evenly(dense, part), round_to)
            for part in (1.0, *args.shares)
            for round_to in (args.round_to if part < 1 else [1])
        }
        fp32 = exported(fuse_norms(dense), CIFAR_SHAPE).SerializeToString()
        calls: dict[tuple[float, int] | None, OnnxNetwork] = {None: OnnxNetwork(fp32, args.threads)}
        calls |= {key: OnnxNetwork(file, args.threads) for key, file in files.items()}
        medians = in_turns(calls, images, args.rounds, self.clock)
        rows = []
        for key, milliseconds in medians.items():
            row: Row = {"model": model, "precision": "INT8" if key else "FP32"}
            row |= _sizes(dense, *(key or (1.0, 1)))
            row |= {"exact_sums": how_exact(), "latency_ms": round(milliseconds, 3)}
            row["times_faster_than_dense_FP32"] = round(medians[None] / milliseconds, 2)
            row["times_faster_than_dense_INT8"] = round(medians[1.0, 1] / milliseconds, 2)
            spent = times_by_operator(files[key], images, args.threads) if key else {}
            for name in ("QLinearConv", "QLinearAdd"):
                row[f"{name}_percent"] = round(spent[name], 1) if key else None
            rows.append(row)
        return rows

    def title(self) -> str:
        """Return the heading of the page."""
        return f"Latency of evenly thinned networks on {self.device_name}"

    def about(self, tables: Tables) -> str:
        """Describe the numbers of the tables."""
        args = self.args
        return (
            f"Milliseconds {'of CPU time ' if args.clock == 'cpu' else ''}for {args.batch} images, medians over "
            f"{args.rounds} interleaved rounds, {args.threads} thread(s), ONNX Runtime, exact sums: {how_exact()}, "
            f"BatchNorm folded, new weights; instruction sets: {instruction_sets()}."
        )


def evenly(dense: nn.Module, part: float) -> Kept:
    """Return the first channels of every layer; all of the classifier's, which are the classes."""
    widths = {name: len(weight) for name, weight in layer_weights(dense).items()}
    return {name: list(range(width if name == "fc" else max(1, round(part * width)))) for name, width in widths.items()}


def in_integers(dense: nn.Module, kept: Kept, round_to: int) -> bytes:
    """Return a thinned network in INT8 as an ONNX file."""
    return to_onnx(quantized(dense, kept, round_to)[0], CIFAR_SHAPE)


def times_by_operator(content: bytes, images: Tensor, threads: int) -> dict[str, float]:
    """Return each operator's share of the time in %, from ONNX Runtime's own profile of three calls."""
    with TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        set_option_(options)
        options.enable_profiling, options.profile_file_prefix = True, f"{folder}/profile"
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        for _ in range(CALLS):
            session.run(None, {session.get_inputs()[0].name: images.numpy()})
        events = json.loads(Path(session.end_profiling()).read_text())
    spent: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"]
    return {name: 100 * microseconds / spent.total() for name, microseconds in spent.items()}


def _sizes(dense: nn.Module, part: float, round_to: int) -> Row:
    small = prune(dense, evenly(dense, part))
    return {
        "channels_percent": 100 * part,
        "round_to": round_to,
        "parameters_percent": round(100 * parameters(small) / parameters(dense), 2),
        "flops_percent": round(100 * flops(small, CIFAR_SHAPE) / flops(dense, CIFAR_SHAPE), 2),
    }


BENCHMARK = Widths
