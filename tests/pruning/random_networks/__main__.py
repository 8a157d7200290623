"""The long run: ``python -m tests.pruning.random_networks 1000 --seed 0``.

Networks are drawn by Python's generator, each from a seed of its own: hypothesis draws them in the suite, but varies
those that it has drawn, so that a thousand of its are of a few hundred kinds.
"""

import argparse
import re
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from random import Random

import torch

from tests.pruning.random_networks.checks import Verdict, check_pruning, check_pruning_twice
from tests.pruning.random_networks.readers import check_scores, check_simulation
from tests.pruning.random_networks.shrinking import Recorded, shrunk
from tests.pruning.random_networks.strategy import TWISTS, Case, Integer, case

CHECKS: dict[str, Callable[[Case], Verdict]] = {
    "pruning": check_pruning,
    "pruning twice": check_pruning_twice,
    "scores": check_scores,
    "simulation": check_simulation,
}
NOT_COUNTED = ("blind", "whole", "broken")


class Tally:
    """What has become of the networks of a run, and the first of each kind of failure."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.features: Counter[tuple[str, str]] = Counter()
        self.texts: Counter[tuple[str, str]] = Counter()
        self.failures: dict[tuple[str, str], list[int]] = {}

    def add(self, found: Case, verdict: Verdict, choices: list[int]) -> None:
        """Count a network."""
        self.kinds[verdict.kind] += 1
        if verdict.kind == "broken":
            self.texts[kind_of(verdict)] += 1
        if verdict.kind in NOT_COUNTED:
            return
        self.features.update((feature, verdict.kind) for feature in found.network.features)
        self.texts[kind_of(verdict)] += 1
        if verdict.kind == "failed":
            known = self.failures.setdefault(kind_of(verdict), choices)
            if len(choices) < len(known):
                self.failures[kind_of(verdict)] = choices

    def print(self) -> None:
        """Print what there is."""
        verdicts = sorted({kind for _, kind in self.features})
        print(f"{'feature':45}" + "".join(f"{kind:>11}" for kind in [*verdicts, "all"]))
        for feature in sorted({feature for feature, _ in self.features}):
            counts = [self.features[feature, kind] for kind in verdicts]
            print(f"{feature:45}" + "".join(f"{count:>11}" for count in [*counts, sum(counts)]))
        for (kind, text), count in self.texts.most_common():
            print(f"{count:>6} {kind} {text}")
        print(", ".join(f"{count} {kind}" for kind, count in self.kinds.most_common()))


def kind_of(verdict: Verdict) -> tuple[str, str]:
    """Return a verdict without its names and numbers."""
    text = re.sub(r"[\d.]+(e[-+]\d+)?", "#", verdict.text)
    return verdict.kind, re.sub(r"\(\w+#?, #\)|^(\w+: )?[\w#]+: ", r"\1", text)[:90]


def main() -> None:
    """Draw networks until so many count, and print what has become of them."""
    parser = argparse.ArgumentParser(description="Random small networks: pruned right, or refused.")
    parser.add_argument("networks", type=int, help="how many are to count")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--twisted", type=int, default=37, help="per cent that have what may be refused (37)")
    parser.add_argument("--only", default="", choices=["", *TWISTS], help="the one such feature that all have")
    parser.add_argument("--check", default="pruning", choices=list(CHECKS))
    parser.add_argument("--simple", action="store_true", help="ReLU, and BatchNorm behind convolutions, alone")
    parser.add_argument("--no-shrinking", action="store_true", help="print failures as they were drawn")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    began, tally, check = time.perf_counter(), Tally(), CHECKS[given.check]

    def draw(integer: Integer) -> Case:
        return case(integer, given.twisted, given.only, given.simple)

    number = 0
    while tally.kinds.total() - sum(tally.kinds[kind] for kind in NOT_COUNTED) < given.networks:
        recorded = Recorded(Random(f"{given.seed}/{number}"))
        found = draw(recorded)
        tally.add(found, check(found), recorded.choices)
        number += 1
    tally.print()
    print(f"{number} drawn, {time.perf_counter() - began:.0f} s")
    for kind, choices in tally.failures.items():
        tries = 0 if given.no_shrinking else 400
        smallest = shrunk(choices, draw, lambda one, kind=kind: kind_of(check(one)) == kind, tries)
        print(f"\n--- {tally.texts[kind]} times: {check(smallest).text}\n{smallest.settings}\n{smallest.network}")
    sys.exit(bool(tally.failures))


if __name__ == "__main__":
    main()
