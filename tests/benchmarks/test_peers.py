"""Pruners of other libraries that install beside the workflow's packages: torch-pruning."""

import re
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks.peers import PEERS, Pruner
from ehap.errors import PlanError
from ehap.evaluation import parameters

ENVS = Path(__file__).parents[2] / "envs"
TORCH_PRUNING = {name: peer for name, peer in PEERS.items() if name.startswith("torch-pruning")}


@pytest.fixture(params=TORCH_PRUNING, ids=lambda name: str(name).rsplit(", ", 1)[1])
def peer(request: pytest.FixtureRequest) -> Pruner:
    return TORCH_PRUNING[request.param]


@pytest.mark.parametrize("share", [0.6, 0.3])
def test_a_pruned_network_meets_the_budget_that_was_asked_for(
    peer: Pruner, share: float, tiny: nn.Module, batch: tuple[Tensor, Tensor]
) -> None:
    before = {name: tensor.clone() for name, tensor in tiny.state_dict().items()}
    smaller = peer(tiny, share, batch[0])
    assert share / 3 < parameters(smaller) / parameters(tiny) <= share  # with 4 and 6 channels steps are large
    assert smaller(batch[0]).shape == (12, 5)
    after = tiny.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_what_goes_are_the_channels_of_small_weights(
    peer: Pruner, tiny: nn.Module, batch: tuple[Tensor, Tensor]
) -> None:
    with torch.no_grad():
        tiny.block1.conv1.weight[[0, 2]] *= 100
        tiny.block1.conv1.weight[[1, 3]] *= 0.01
    left = peer(tiny, 0.3, batch[0]).block1.conv1.weight.flatten(1).norm(dim=1)
    assert len(left) in (1, 2)
    assert (left > 1).all()


def test_a_budget_that_cannot_be_met_is_said_to_be_so(
    peer: Pruner, tiny: nn.Module, batch: tuple[Tensor, Tensor]
) -> None:
    with pytest.raises(PlanError, match=r"torch-pruning: expected at most 34 parameters, got (\d+) at best") as caught:
        peer(tiny, 0.03, batch[0])
    (fewest,) = re.findall(r"got (\d+)", str(caught.value))
    assert 34 < int(fewest) < parameters(tiny) / 4


@pytest.mark.parametrize("name", PEERS)
def test_a_library_that_is_not_installed_is_named(
    name: str, tiny: nn.Module, batch: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in ("torch_pruning", "model_compression_toolkit", "aimet_torch"):
        monkeypatch.setitem(sys.modules, library, None)  # an import of it fails
    with pytest.raises(PlanError, match=r"^[a-z_.]+ cannot be imported \(.*\); make bench-prune installs it"):
        PEERS[name](tiny, 0.5, batch[0])


def test_the_benchmark_and_this_test_prune_with_the_same_version() -> None:
    (beside,), (here,) = (
        re.findall(r"^torch-pruning==(\S+)", (ENVS / name).read_text(), re.MULTILINE)
        for name in ("pruning_peers.txt", "dev.txt")
    )
    assert beside == here
