"""INT8 in two sessions of ONNX Runtime: a plain one, and one with the option for exact sums.

Every session had the option up to commit 8428bc2. Beside the times stands how many images get other bits.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence

import torch

from benchmarks.arguments import whole
from benchmarks.benchmark import Row, Tables
from benchmarks.latency import OnProcessor
from benchmarks.networks import Call, Contender, in_float, quantized
from benchmarks.weights import noise
from ehap.data import CIFAR_SHAPE
from ehap.engines.exact_sums import OPTION, how_exact
from ehap.engines.onnxruntime import OnnxNetwork, to_onnx
from ehap.latency.turns import each_turn
from ehap.runtime.device import instruction_sets

AT_ONCE = 64


class Sums(OnProcessor):
    """Each INT8 network in a plain session, in one with the option, and the same network in FP32."""

    name = "sums"

    @staticmethod
    def declare(parser: argparse.ArgumentParser) -> None:
        """Add the number of images."""
        OnProcessor.declare(parser)
        parser.add_argument("--images", type=whole(1), default=2048, help="whose logits are compared; default: 2048")

    def measure(self, model: str, batch: int, found: Mapping[str, Contender]) -> list[Row]:
        """Return a row for every network with an INT8 form."""
        found = {name: each for name, each in found.items() if name == "dense" or "sums" in name}
        generator = torch.Generator().manual_seed(0)
        images, many = noise(batch, generator), noise(self.args.images, generator)
        calls: dict[tuple[str, str], Call] = {}
        for name, each in found.items():
            content = to_onnx(quantized(found["dense"].network, each.kept, each.round_to)[0], CIFAR_SHAPE)
            calls[name, "FP32"] = in_float(each.network, "onnxruntime", images, self.args.threads)
            calls[name, "plain"] = OnnxNetwork(content, self.args.threads, option=False)
            calls[name, "option"] = OnnxNetwork(content, self.args.threads, option=True)
        times = each_turn(calls, images, self.args.rounds, self.clock)
        rows = []
        for name in found:
            row: Row = {"model": model, "batch": batch, "network": name, "threads": self.args.threads}
            row |= {"instructions": instruction_sets(), "exact_sums": how_exact()}
            row |= _times({form: times[name, form] for form in ("FP32", "plain", "option")})
            row |= _answers(calls[name, "plain"], calls[name, "option"], many)
            rows.append(row)
        return rows

    def about(self, tables: Tables) -> str:
        """Describe the numbers of the tables."""
        form = f"plain and option: INT8 in a plain session, and in one with {OPTION}."
        return f"{self.unit()}, ratios medians over the rounds, ONNX Runtime; {form}{self.left_out(tables)}"


def _times(times: Mapping[str, Sequence[float]]) -> Row:
    """Return the columns of the times of one network: form of its session to milliseconds of each round."""

    def ratio(slow: str, fast: str) -> float:
        return round(statistics.median(one / two for one, two in zip(times[slow], times[fast], strict=True)), 2)

    return {
        **{f"{form}_ms": round(statistics.median(each), 3) for form, each in times.items()},
        "plain_times_as_fast_as_option": ratio("option", "plain"),
        "plain_times_as_fast_as_FP32": ratio("FP32", "plain"),
        "option_times_as_fast_as_FP32": ratio("FP32", "option"),
    }


def _answers(plain: Call, option: Call, images: torch.Tensor) -> Row:
    """Return the columns of the comparison of two sessions."""
    parts = [(plain(part), option(part)) for part in images.split(AT_ONCE)]
    logits = torch.cat([one for one, _ in parts])
    other = (logits != torch.cat([two for _, two in parts])).any(1)
    return {
        "images_compared": len(images),
        "images_with_other_bits": int(other.sum()),
        "answers_that_differ_among_images": len(torch.unique(logits, dim=0)),
    }


BENCHMARK = Sums
