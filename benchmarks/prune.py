"""Pruning beside other libraries: the same trained network, the same number of parameters, the same fine-tuning."""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import nn

from benchmarks.arguments import add_device, existing, share, whole
from benchmarks.benchmark import Benchmark, Part, Row, Tables
from benchmarks.peers import PEERS
from benchmarks.recovery import Recovery
from ehap.curvature import channel_scores
from ehap.data import CIFAR_SHAPE, hessian_batch, normalise
from ehap.errors import PlanError, SettingsError
from ehap.evaluation import flops, parameters
from ehap.graph.channels import Kept
from ehap.graph.layers import layer_weights
from ehap.pruning import Planner, magnitude, prune, random_scores
from ehap.pruning.criteria import scores_from
from ehap.settings import Finetune, Prune

OURS = {
    "ours, trace": {"criterion": "trace"},
    "ours, gate + lamp": {"criterion": "gate", "balance": "lamp"},
    "ours, gate + lamp, tied": {"criterion": "gate", "balance": "lamp", "residual": "tied"},
    "ours, L2 + lamp": {"criterion": "magnitude", "balance": "lamp"},
    "ours, random + lamp": {"criterion": "random", "balance": "lamp"},
}
Pruned = Callable[[], tuple[nn.Module, Kept | None]]
"""To the pruned network and, for ours, its plan."""


class Pruning(Benchmark):
    """Other libraries' pruners and ours on one trained network.

    With ``--match`` ours prune to the parameters and FLOPs of each library's network, too.
    """

    name = "prune"

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.labels = _beginning(args.pruners, (*PEERS, *OURS), "--pruners")
        self.rivals = [] if args.match is None else _beginning(args.match or [""], tuple(OURS), "--match")
        sys.path.insert(0, str(args.peers.resolve()))
        settings = Finetune(epochs=args.epochs, learning_rate=0.05, weight_decay=1e-3, precision=args.precision)
        self.judge = Recovery(args.checkpoint, args.data, self.device, settings, args.repair_images, args.seed)
        self.dense = self.judge.dense
        self.whole = parameters(self.dense), flops(self.dense, CIFAR_SHAPE)
        self.planner = Planner(self.dense, CIFAR_SHAPE)
        images, labels = self.judge.plain_images
        self.batch = hessian_batch(images, labels, self.judge.info, args.images, args.seed)

    @staticmethod
    def declare(parser: argparse.ArgumentParser) -> None:
        """Add the network, its images, budgets, pruners, recovery and the device."""
        network, images = "weights of the pretrain stage", "images of the prepare stage"
        parser.add_argument("--checkpoint", type=existing, required=True, metavar="FILE", help=network)
        parser.add_argument("--data", type=existing, required=True, metavar="FILE", help=images)
        parser.add_argument("--params", type=share, nargs="+", default=[0.1, 0.75], help="shares of the parameters")
        parser.add_argument("--pruners", nargs="+", default=[""], help="those whose names begin so; default: all")
        match = "ours (whose names begin so), using up each library's budgets, too"
        parser.add_argument("--match", nargs="*", metavar="OURS", help=match)
        parser.add_argument("--images", type=whole(1), default=512, help="for the scores; default: 512")
        parser.add_argument("--epochs", type=whole(0), default=3, help="of fine-tuning; default: 3")
        repair = "repair on this many images without labels, too"
        parser.add_argument("--repair-images", type=whole(0), default=0, help=repair)
        parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"], default="fp32", help="of fine-tuning")
        parser.add_argument("--seed", type=int, default=0)
        peers = "where make bench-prune puts the libraries"
        parser.add_argument("--peers", type=Path, default=Path(".peers"), help=peers)
        add_device(parser, "0")

    def parts(self) -> list[Part]:
        """Return one part a budget and pruner, and one a match after each library."""
        found = []
        for params in self.args.params:
            for label in self.labels:
                pruned = partial(self._theirs if label in PEERS else self._ours, label, params)
                found.append(Part(f"{label} at {params:g}", partial(self.measure, params, label, pruned)))
                for rival in self.rivals if label in PEERS else []:
                    matched = partial(self._matched, params, rival, label)
                    found.append(Part(f"{rival}, as {label} at {params:g}", matched))
        return found

    def measure(self, params: float, label: str, pruned: Pruned) -> list[Row]:
        """Return the row of a contender: its size, its accuracy at every step, and its time."""
        began = time.perf_counter()
        try:
            network, kept = pruned()
        except PlanError as error:
            print(f"{label}, {params:g}: left out ({error})", file=sys.stderr)
            return [{"params": params, "pruner": label, "note": str(error)}]
        seconds = time.perf_counter() - began
        size = parameters(network), flops(network, CIFAR_SHAPE)
        row = {
            "params": params,
            "pruner": label,
            "parameters": size[0],
            "parameters_kept_percent": round(100 * size[0] / self.whole[0], 2),
            "flops": size[1],
            "flops_kept_percent": round(100 * size[1] / self.whole[1], 2),
        }
        return [row | self.judge.steps(network, kept) | {"seconds_to_prune": round(seconds, 1), "note": ""}]

    def _matched(self, params: float, rival: str, label: str) -> list[Row]:
        """Return the row of one of ours with a library's parameters and FLOPs; none where that library failed."""
        row = next(each for each in self.rows if (each["params"], each["pruner"]) == (params, label))
        if row["note"]:
            return []
        budgets = [row[size] / of for size, of in zip(("parameters", "flops"), self.whole, strict=True)]
        return self.measure(params, f"{rival}, as {label}", partial(self._ours, rival, *budgets))

    def _ours(self, label: str, params: float, of_flops: float | None = None) -> tuple[nn.Module, Kept]:
        fill = "both" if of_flops else "first"
        chosen = Prune(params=params, flops=of_flops, fill=fill, **OURS[label])  # type: ignore[arg-type]
        if chosen.criterion == "magnitude":
            scores = magnitude(layer_weights(self.dense))
        elif chosen.criterion == "random":
            scores = random_scores(layer_weights(self.dense), self.args.seed)
        else:
            found = channel_scores(self.dense, *self.batch, chosen.criterion)
            scores = scores_from(self.dense, chosen.criterion, found[chosen.criterion])
        kept = self.planner(scores, *chosen.parts).kept
        return prune(self.dense, kept), kept

    def _theirs(self, label: str, params: float) -> tuple[nn.Module, None]:
        seen = self.judge.seen
        images = normalise(seen, self.judge.info).cpu() if len(seen) else self.batch[0]
        return PEERS[label](self.dense, params, images), None

    def title(self) -> str:
        """Return the heading of the page."""
        return f"Pruning beside other libraries: {self.judge.model} on {self.judge.dataset}, {self.device_name}"

    def about(self, tables: Tables) -> str:
        """Describe the numbers of the tables."""
        about = f"Dense: {self.judge.dense_accuracy:.2f} %. Accuracy in % on all test images; "
        about += f"{self.args.epochs} epochs of fine-tuning."
        if self.rivals:
            about += ' Rows with "as" use up the parameters and the FLOPs of that library\'s network (`fill: both`).'
        return about


def _beginning(words: list[str], names: tuple[str, ...], option: str) -> list[str]:
    """Return the names that begin with one of the words.

    Raises:
        SettingsError: No name begins with one of them.
    """
    for word in words:
        if not any(name.startswith(word) for name in names):
            raise SettingsError(f"{option} {word!r}: no name begins so; expected beginnings of {'; '.join(names)}.")
    return [name for name in names if name.startswith(tuple(words))]


BENCHMARK = Pruning
