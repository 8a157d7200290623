"""What the prune stage's record says of the published rule."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from ehap.artifacts.dense import architecture, save_model
from ehap.data import CIFAR_SHAPE
from ehap.graph import FLOAT
from ehap.graph.layers import layer_weights
from ehap.models import build_model
from ehap.pruning import magnitude, plan
from ehap.records import Identity
from ehap.settings import Prune
from ehap.stages import prune
from tests.jobs import job_of

CELL = Identity(stage="prune", dataset="digits", model="resnet20", seed=0, method="l2")


@pytest.mark.parametrize("rule", ["exact", "as_published"])
def test_the_record_counts_the_channels_in_which_the_two_rules_differ(tmp_path: Path, rule: str) -> None:
    network = build_model("resnet20", 10, seed=0)
    save_model(tmp_path / "checkpoint", network, architecture(CELL, None))
    settings = Prune(criterion="magnitude", prune_ratio=0.8, rule=rule)  # type: ignore[arg-type]  # a literal
    prune.run(job_of(tmp_path, settings, CELL, "checkpoint", "plan pruned record"))
    both = [
        plan(
            network, magnitude(layer_weights(network)), CIFAR_SHAPE, *Prune(**asdict(settings) | {"rule": one}).parts
        ).kept
        for one in ("exact", "as_published")
    ]
    differing = sum(len(set(both[0][layer]) ^ set(both[1][layer])) for layer in both[0])
    assert differing > 0  # else nothing is tested
    assert json.loads((tmp_path / "record").read_text())["values"]["published_rule_differs"]["value"] == differing


def test_a_budget_has_no_published_rule(tmp_path: Path) -> None:
    save_model(tmp_path / "checkpoint", build_model("resnet20", 10, seed=0), architecture(CELL, None))
    settings = Prune(criterion="magnitude", params=0.3)
    prune.run(job_of(tmp_path, settings, CELL, "checkpoint", "plan pruned record"))
    assert "published_rule_differs" not in json.loads((tmp_path / "record").read_text())["values"]


@pytest.mark.parametrize(
    ("settings", "pruned"),
    [
        (Prune(criterion="magnitude", params=0.3), None),
        (Prune(criterion="magnitude", params=0.3, reinitialize=True), "exempt: reinitialized"),
        (Prune(criterion="magnitude", prune_ratio=0.5, rule="as_published"), "exempt: rule as_published"),
    ],
)
def test_the_record_says_what_was_compared_and_what_is_exempt(
    tmp_path: Path, settings: Prune, pruned: str | None
) -> None:
    save_model(tmp_path / "checkpoint", build_model("resnet20", 10, seed=0), architecture(CELL, None))
    prune.run(job_of(tmp_path, settings, CELL, "checkpoint", "plan pruned record"))
    proofs = json.loads((tmp_path / "record").read_text())["proofs"]
    assert proofs["graph"]["difference"] < FLOAT
    assert proofs["graph"]["images"] == 2
    if pruned is None:
        assert proofs["pruned"]["difference"] < FLOAT
    else:
        assert proofs["pruned"] == pruned
