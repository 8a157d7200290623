"""Time to plan a pruning, and distance to its budget, for every model and budgets from 5 to 95 %.

Scores are computed before: a run computes them once for all its plans.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

from benchmarks.arguments import add_models, add_threads, share
from benchmarks.benchmark import Benchmark, Part, Row, Tables
from ehap.data import CIFAR_SHAPE
from ehap.errors import PlanError
from ehap.graph.layers import layer_weights
from ehap.models import build_model
from ehap.pruning import Planner, random_scores
from ehap.pruning.plan import PruningPlan
from ehap.settings import Prune
from ehap.settings.budget import Budget
from ehap.settings.names import MODELS

KINDS = {"parameters": ("params",), "FLOPs": ("flops",), "both, used up": ("params", "flops")}
BUDGETS = [0.05, *(tenths / 10 for tenths in range(1, 10)), 0.95]


class Plan(Benchmark):
    """Plans of random channels under budgets of parameters, of FLOPs and of both."""

    name = "plan"

    @staticmethod
    def declare(parser: argparse.ArgumentParser) -> None:
        """Add models, budgets and threads."""
        add_models(parser, list(MODELS))
        parser.add_argument(
            "--budgets", nargs="+", type=share, default=BUDGETS, help="shares to keep; default: 0.05 to 0.95"
        )
        add_threads(parser, "1")
        parser.set_defaults(device="cpu")

    def parts(self) -> list[Part]:
        """Return one part a model."""
        return [Part(model, partial(self.measure, model)) for model in self.args.models]

    def measure(self, model: str) -> list[Row]:
        """Return a row for each kind of budget."""
        network = build_model(model, 10, seed=0)
        scores = random_scores(layer_weights(network), seed=0)
        began = time.perf_counter()
        planner = Planner(network, CIFAR_SHAPE)
        once = time.perf_counter() - began
        found = {
            kind: self._plans(lambda settings: planner(scores, *settings.parts), f"{model}, {kind}", names)
            for kind, names in KINDS.items()
        }
        channels = sum(planner(scores, Budget(params=1.0)).widths.values())
        return [
            {"model": model, "channels": channels, "budget": kind} | _row(once, *zip(*plans, strict=True))
            for kind, plans in found.items()
            if plans
        ]

    def _plans(
        self, planned: Callable[[Prune], PruningPlan], label: str, names: tuple[str, ...]
    ) -> list[tuple[float, float]]:
        """Return the seconds of each plan and the percentage of its budget that it leaves."""
        found = []
        for budget in self.args.budgets:
            settings = Prune(
                criterion="random",
                balance="lamp",
                prune_ratio_limit=1.0,
                fill="both" if len(names) > 1 else "first",
                **dict.fromkeys(names, budget),
            )
            began = time.perf_counter()
            try:
                plan = planned(settings)
            except PlanError as error:
                print(f"{label}, {budget:g}: left out ({error})", file=sys.stderr)
                continue
            found.append((time.perf_counter() - began, unused(plan, budget, names)))
        return found

    def title(self) -> str:
        """Return the heading of the page."""
        budgets = self.args.budgets
        return f"Plans for budgets of {min(budgets):.0%} to {max(budgets):.0%}: {self.device_name}"

    def about(self, tables: Tables) -> str:
        """Describe the numbers of the tables."""
        return (
            "Random channels, balanced over layers. Once: the network's graph and counts, shared by all plans. "
            "Unused: the part of its budget that a plan leaves; of two budgets, the larger part."
        )


def unused(plan: PruningPlan, budget: float, names: tuple[str, ...]) -> float:
    """Return the percentage of its budget that a plan leaves; of several budgets, the largest."""
    kept = {"params": plan.parameters / plan.dense_parameters, "flops": plan.flops / plan.dense_flops}
    return max(100 * (1 - kept[name] / budget) for name in names)


def _row(once: float, seconds: Sequence[float], left: Sequence[float]) -> Row:
    return {
        "milliseconds_once": round(1000 * once),
        "milliseconds_median": round(1000 * statistics.median(seconds), 1),
        "milliseconds_most": round(1000 * max(seconds), 1),
        "percent_unused_median": round(statistics.median(left), 3),
        "percent_unused_most": round(max(left), 3),
    }


BENCHMARK = Plan
