"""A network that is pruned twice is repaired as one that is pruned once by both plans."""

import copy

import pytest
import torch

from ehap.errors import PlanError
from ehap.graph.union import UnionAdd
from ehap.models import build_model
from ehap.pruning import mask_, prune
from ehap.repair.reconstruction import reconstruct
from tests.conftest import enliven_
from tests.pruning.plans import random_plan

Kept = dict[str, list[int]]


def test_a_second_repair_is_that_of_the_masked_dense_network_by_both_plans() -> None:
    dense = build_model("resnet20", 10, seed=0).eval()
    enliven_(dense)
    first = random_plan(dense, 1)
    once = prune(dense, first)
    second = random_plan(once, 2)
    twice = prune(once, second)
    assert any(isinstance(module, UnionAdd) for module in once.modules())
    both = {layer: [first[layer][place] for place in places] for layer, places in second.items()}
    masked = copy.deepcopy(dense)
    mask_(masked, first)
    images = torch.randn(48, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(twice(images), prune(masked, both)(images))
        wanted = reconstruct(masked, prune(masked, both), both, images).network(images)
        found = reconstruct(once, twice, second, images).network(images)
        target, before = once(images), twice(images)
    assert (found - target).norm() < 0.5 * (before - target).norm()
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))


def test_the_published_order_of_unions_is_for_dense_networks() -> None:
    dense = build_model("resnet20", 10, seed=0).eval()
    once = prune(dense, random_plan(dense, 1))
    with pytest.raises(PlanError, match="order set: this network is pruned already"):
        prune(once, random_plan(once, 2), order="set")
