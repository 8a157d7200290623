"""How long a plan takes, and how near it comes to its budget: every model, budgets from 5 to 95 %.

Scores are there already, as those of a run are: computed once and shared by all plans.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import pandas
import torch

from benchmarks.results import write_benchmark
from ehap.errors import PlanError
from ehap.graph.layers import layer_weights
from ehap.models import INPUT_SHAPE, build_model
from ehap.pruning import Planner, random_scores
from ehap.pruning.plan import PruningPlan
from ehap.runtime.device import choose_device, device_name, slug
from ehap.settings import Prune
from ehap.settings.names import MODELS

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
parser.add_argument("--budgets", nargs="+", type=float, default=[0.05, *(tenths / 10 for tenths in range(1, 10)), 0.95])
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--folder", type=Path, default=Path("measurements"))
args = parser.parse_args()
device = choose_device("cpu", args.threads)

KINDS = {"parameters": ("params",), "FLOPs": ("flops",), "both, used up": ("params", "flops")}


def unused(plan: PruningPlan, budget: float, names: tuple[str, ...]) -> float:
    """Return how many percent of a network's budget a plan leaves, of the budget of which it leaves most."""
    kept = {"params": plan.parameters / plan.dense_parameters, "flops": plan.flops / plan.dense_flops}
    return max(100 * (1 - kept[name] / budget) for name in names)


rows: list[dict[str, object]] = []
for model in args.models:
    network = build_model(model, 10, seed=0)
    scores = random_scores(layer_weights(network), seed=0)
    began = time.perf_counter()
    planner = Planner(network, INPUT_SHAPE)
    once = time.perf_counter() - began
    for kind, names in KINDS.items():
        seconds, left = [], []
        for budget in args.budgets:
            settings = Prune(
                criterion="random",
                normalise="lamp",
                prune_ratio_limit=1.0,
                fill="both" if len(names) > 1 else "first",
                **dict.fromkeys(names, budget),
            )
            began = time.perf_counter()
            try:
                plan = planner(scores, settings)
            except PlanError as error:
                print(f"{model}, {kind}, {budget:g}: left out ({error})", file=sys.stderr)
                continue
            seconds.append(time.perf_counter() - began)
            left.append(unused(plan, budget, names))
        if not seconds:
            continue
        rows.append(
            {
                "model": model,
                "channels": sum(planner(scores, Prune(criterion="random", params=1.0)).widths.values()),
                "budget": kind,
                "milliseconds_once": round(1000 * once),
                "milliseconds_median": round(1000 * statistics.median(seconds), 1),
                "milliseconds_most": round(1000 * max(seconds), 1),
                "percent_unused_median": round(statistics.median(left), 3),
                "percent_unused_most": round(max(left), 3),
            }
        )
about = (
    "Random channels, balanced over layers. Once: the network's graph and counts, then shared by all plans. Unused: "
    "what a plan leaves of its budget, of two budgets of the one of which it leaves more."
)
name = device_name(torch.device(device))
title = f"Plans for budgets of {min(args.budgets):.0%} to {max(args.budgets):.0%}: {name}"
print(write_benchmark(args.folder / slug(name), {"bench_plan": pandas.DataFrame(rows)}, title, about))
