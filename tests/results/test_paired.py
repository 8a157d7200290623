from pathlib import Path

import pandas
import pytest

from ehap.results import paired as pairs
from ehap.results.collect import collect
from tests.results.conftest import evaluated, only_row, record


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    found = []
    for method, accuracies, budget in (
        ("l2-10", (81.0, 83.0, 88.0), {"params": 0.1, "flops": None, "prune_ratio": None}),
        ("hap-10", (80.0, 80.0), {"params": 0.1, "flops": None, "prune_ratio": None}),
        ("gate-10", (81.0,), {"params": 0.1, "flops": None, "prune_ratio": None}),
        ("l2-both", (70.0,), {"params": 0.1, "flops": 0.2, "prune_ratio": None}),
    ):
        for seed, accuracy in enumerate(accuracies):
            where = {"seed": seed, "method": method}
            found.append(record(tmp_path, f"p{method}{seed}", {}, stage="prune", settings=budget, **where))
            found.append(record(tmp_path, f"e{method}{seed}", evaluated(accuracy, 100), stage="evaluate", **where))
    where = {"stage": "evaluate", "seed": 1, "method": "gate-10", "device": "CPU"}  # of another device: no pair
    return [*found, record(tmp_path, "other", evaluated(50.0, 100), **where)]


def test_methods_of_one_budget_are_compared_seed_by_seed_on_one_device(paths: list[Path]) -> None:
    frame = pairs.paired(*collect(paths))
    assert set(frame["budget"]) == {"10 % of the parameters"}  # alone, l2-both has no other
    assert len(frame) == 3 * 2
    row = only_row(frame, method="l2-10", other="hap-10")
    assert (row["difference"], row["difference_std"]) == (2, pytest.approx(2**0.5))  # of 1 and 3; seed 2 has no pair
    assert (row["ahead"], row["n"], row["device"]) == (2, 2, "GPU")
    row = only_row(frame, method="hap-10", other="gate-10")
    assert (row["difference"], row["ahead"], row["n"]) == (-1, 0, 1)
    assert pandas.isna(row["difference_std"])


def test_the_differences_of_a_budget_are_a_square(paths: list[Path], tmp_path: Path) -> None:
    where = {"seed": 0, "method": "hap-both"}
    budget = {"params": 0.1, "flops": 0.2, "prune_ratio": None}
    paths.append(record(tmp_path, "p", {}, stage="prune", settings=budget, **where))
    paths.append(record(tmp_path, "e", evaluated(71.0, 100), stage="evaluate", **where))
    text = " ".join(pairs.paired_markdown(pairs.paired(*collect(paths))).split())
    assert "## resnet32, CIFAR-10, 10 % of the parameters, GPU" in text
    assert "| l2-10 | | +2.00 ± 1.41 (2 of 2) | +0.00 (0 of 1) |" in text
    assert "## resnet32, CIFAR-10, 10 % of the parameters and 20 % of the FLOPs, GPU" in text
    assert "| hap-both | +1.00 (1 of 1) | |" in text


def test_of_a_run_without_pairs_the_table_is_empty(paths: list[Path]) -> None:
    frame = pairs.paired(*collect(paths[:2]))
    assert frame.empty
    assert pairs.paired_markdown(frame).startswith("# Methods paired on the same networks")
