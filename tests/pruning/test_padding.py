"""A pruned network with plain sums computes what the one with unions does."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from ehap.graph.channels import channel_graph
from ehap.graph.union import UnionAdd
from ehap.models import INPUT_SHAPE, build_model
from ehap.pruning import mask_, prune
from ehap.pruning.padding import expanded, placements

Kept = dict[str, list[int]]


def _random_plan(model: nn.Module, seed: int) -> Kept:
    generator = torch.Generator().manual_seed(seed)
    graph = channel_graph(model)
    kept = {}
    for layer, width in graph.widths().items():
        count = width if layer in graph.unpruned() else int(torch.randint(1, width + 1, (), generator=generator))
        kept[layer] = sorted(torch.randperm(width, generator=generator)[:count].tolist())
    return kept


@pytest.mark.parametrize(("name", "round_to"), [("resnet20", 1), ("resnet20", 16), ("wrn28_8", 4)])
def test_an_expanded_network_has_plain_sums_of_aligned_widths(
    name: str, round_to: int, enliven: Callable[[nn.Module], None]
) -> None:
    model = build_model(name, 10, seed=0)
    enliven(model)
    model.eval()
    kept = _random_plan(model, round_to)
    wide = expanded(model, kept, round_to)
    widths = channel_graph(model).widths()
    masked = copy.deepcopy(model)
    mask_(masked, kept)
    whole, small = prune(masked, wide), prune(model, kept)
    assert any(isinstance(module, UnionAdd) for module in small.modules())
    assert not any(isinstance(module, UnionAdd) for module in whole.modules())
    for layer, channels in wide.items():
        assert set(kept[layer]) <= set(channels)
        assert len(channels) % round_to == 0 or len(channels) == widths[layer]
    images = torch.randn(2, *INPUT_SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(whole(images), small(images), rtol=1e-4, atol=1e-4)


def test_placements_say_where_weights_lie(tiny: nn.Module) -> None:
    kept = _random_plan(tiny, 3)
    wide = expanded(tiny, kept)
    masked = copy.deepcopy(tiny)
    mask_(masked, kept)
    whole, small = prune(masked, wide), prune(tiny, kept)
    places = placements(tiny, kept, wide)
    assert set(places) == set(kept)
    for layer, place in places.items():
        weight = whole.get_parameter(f"{layer}.weight")
        assert weight.shape[:2] == place.size
        found = weight[list(place.rows)][:, list(place.columns)]
        assert torch.equal(found, small.get_parameter(f"{layer}.weight"))
        assert len(set(place.rows)) == len(kept[layer])


def test_what_is_not_pruned_stays_as_it_is(tiny: nn.Module) -> None:
    kept = {name: list(range(width)) for name, width in channel_graph(tiny).widths().items()}
    assert expanded(tiny, kept, 16) == kept
