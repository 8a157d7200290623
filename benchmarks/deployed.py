"""Latency of ONNX files that the deploy stage has written, side by side, with their accuracy."""

import argparse
from functools import partial
from pathlib import Path

from benchmarks.arguments import add_processor, add_rounds, clock_of, existing, whole
from benchmarks.benchmark import Benchmark, Part, Row, Tables
from benchmarks.weights import noise
from ehap.engines.exact_sums import how_exact
from ehap.engines.onnxruntime import OnnxNetwork
from ehap.latency.turns import in_turns
from ehap.records import read_record
from ehap.runtime.device import instruction_sets


class Deployed(Benchmark):
    """Files in ONNX Runtime on the processor, in turns."""

    name = "deployed"

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.clock = clock_of(args)
        self.records = {path: read_record(path.with_name("record.json")) for path in args.files}

    @staticmethod
    def declare(parser: argparse.ArgumentParser) -> None:
        """Add files, batches, rounds, threads and clock."""
        what = "deploy/…/model.onnx, each with its record.json beside it"
        parser.add_argument("files", nargs="+", type=existing, metavar="FILE", help=what)
        parser.add_argument("--batches", nargs="+", type=whole(1), default=[1, 64])
        add_rounds(parser, 15)
        add_processor(parser)

    def parts(self) -> list[Part]:
        """Return one part a batch."""
        return [Part(f"batch {batch}", partial(self.measure, batch)) for batch in self.args.batches]

    def measure(self, batch: int) -> list[Row]:
        """Return a row for every file, with the accuracy that its record has."""
        calls = {path: OnnxNetwork(path.read_bytes(), self.args.threads) for path in self.args.files}
        medians = in_turns(calls, noise(batch), self.args.rounds, self.clock)
        slowest = max(medians.values())
        return [self._row(path, batch, milliseconds, slowest) for path, milliseconds in medians.items()]

    def _row(self, path: Path, batch: int, milliseconds: float, slowest: float) -> Row:
        record = self.records[path]
        row: Row = {"model": record["model"], "batch": batch, "method": record["method"], "scheme": record["scheme"]}
        row |= {"exact_sums": how_exact(), "latency_ms": round(milliseconds, 3)}
        row["times_faster_than_slowest"] = round(slowest / milliseconds, 2)
        return row | {name: record["values"][name]["value"] for name in ("deployed_accuracy", "parameters")}

    def title(self) -> str:
        """Return the heading of the page."""
        return f"Latency on {self.device_name}"

    def about(self, tables: Tables) -> str:
        """Describe the numbers of the tables."""
        cpu = "of CPU time " if self.args.clock == "cpu" else ""
        return (
            f"Milliseconds {cpu}a batch, medians over {self.args.rounds} interleaved rounds, {self.args.threads} "
            f"thread(s), instruction sets: {instruction_sets()}, ONNX Runtime, accuracy (%) of all test images."
        )


BENCHMARK = Deployed
