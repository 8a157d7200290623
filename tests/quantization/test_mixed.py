"""Bits for each layer against a search through all choices, and weights of four bits as half bytes."""

import copy
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ehap.curvature import channel_scores
from ehap.errors import ArchitectureError, CheckpointError, NumericsError, SettingsError
from ehap.evaluation import parameters
from ehap.graph.folding import fuse_norms
from ehap.graph.layers import layer_weights
from ehap.models import build_model
from ehap.pruning import magnitude, plan, prune
from ehap.quantization import calibrate_, choose_bits, from_tensors, layer_costs, pack, prepare_qat, to_tensors, unpack
from ehap.quantization.mixed import LayerCost
from ehap.quantization.packed_file import pack_int4
from ehap.records import write_tensors
from ehap.settings import Prune, Qat
from tests.quantization.images import INFO, random_images

Batch = tuple[Tensor, Tensor]
SHAPE = (3, 8, 8)


def _mixed(**budget: float) -> Qat:
    return Qat(epochs=1, learning_rate=0.01, mix=(4, 8), **budget)


def _costs(model: nn.Module, batch: Batch) -> dict[str, LayerCost]:
    folded = fuse_norms(copy.deepcopy(model))
    return layer_costs(folded, channel_scores(folded, *batch, "trace")["trace"], (4, 8), SHAPE)


def test_damage_is_the_mean_trace_times_the_squared_rounding_error(tiny: nn.Module, batch: Batch) -> None:
    folded = fuse_norms(copy.deepcopy(tiny))
    traces = channel_scores(folded, *batch, "trace")["trace"]
    costs = layer_costs(folded, traces, (4, 8), SHAPE)
    weight = folded.get_submodule("block2.conv1").weight.detach()
    scale = weight.flatten(1).abs().amax(1).view(-1, 1, 1, 1) / 7
    error = (torch.round(weight / scale) * scale - weight).double().square().sum()
    expected = traces["block2.conv1"].sum() / weight.numel() * error
    assert costs["block2.conv1"].damage[4] == pytest.approx(expected.item(), rel=1e-5)
    assert costs["block2.conv1"].damage[8] < costs["block2.conv1"].damage[4] / 100
    assert (costs["block2.conv1"].weights, costs["block2.conv1"].operations) == (4 * 6 * 9, 4 * 6 * 9 * 16)
    assert costs["fc"].operations == costs["fc"].weights == 120


@pytest.mark.parametrize("budget", ["size", "bit_operations"])
@pytest.mark.parametrize("share", [0.55, 0.62, 0.75, 0.9])
def test_no_other_choice_within_the_budget_does_less_damage(
    tiny: nn.Module, batch: Batch, budget: str, share: float
) -> None:
    costs = _costs(tiny, batch)
    amounts = {name: cost.weights if budget == "size" else cost.operations for name, cost in costs.items()}

    def spent(bits: dict[str, int]) -> float:
        return sum(bits[name] * amounts[name] for name in costs) / (8 * sum(amounts.values()))

    def damage(bits: dict[str, int]) -> float:
        return sum(cost.damage[bits[name]] for name, cost in costs.items())

    found = choose_bits(costs, _mixed(**{budget: share}))
    every = [dict(zip(costs, choice, strict=True)) for choice in product((4, 8), repeat=len(costs))]
    assert spent(found) <= share
    assert 4 in found.values()
    assert 8 in found.values()
    assert damage(found) == pytest.approx(min(damage(bits) for bits in every if spent(bits) <= share), rel=1e-9)


def test_the_ends_of_the_budget_are_the_uniform_networks(tiny: nn.Module, batch: Batch) -> None:
    costs = _costs(tiny, batch)
    assert set(choose_bits(costs, _mixed(size=1.0)).values()) == {8}
    assert set(choose_bits(costs, _mixed(size=0.5)).values()) == {4}
    with pytest.raises(SettingsError, match=r"size 0.4 cannot be met: 4 bits throughout take 0.5"):
        _mixed(size=0.4)
    with pytest.raises(SettingsError, match=r"size 0.3 cannot be met: 2 bits throughout take 0.5"):
        Qat(epochs=1, learning_rate=0.01, mix=(2, 8), size=0.3)  # a weight takes half a byte at least
    narrow = Qat(epochs=1, learning_rate=0.01, mix=(4, 8), activation_bits=4, bit_operations=0.3)
    assert set(choose_bits(costs, narrow).values()) == {4, 8}  # activations of 4 bits leave half before any choice
    with pytest.raises(NumericsError, match=r"conv1: expected a finite trace, got nan"):
        layer_costs(fuse_norms(tiny), {"conv1": torch.tensor([float("nan")])}, (4, 8), SHAPE)


def test_half_bytes_give_every_integer_back() -> None:
    integers = torch.arange(-8, 7).to(torch.int8)  # an odd number of them
    pairs = pack_int4(integers)
    assert (pairs.dtype, len(pairs)) == (torch.uint8, 8)
    network = nn.Sequential(nn.Linear(15, 1))
    file = {"weights": pairs, "weight_scale": torch.ones(1), "bias": torch.ones(1, dtype=torch.int32)}
    assert torch.equal(from_tensors(file, network, {"0": 4})["0.weight"], integers.view(1, 15))
    with pytest.raises(CheckpointError, match=r"another network: expected weights of length 8, got 7"):
        from_tensors(file | {"weights": pairs[:7]}, network, {"0": 4})
    with pytest.raises(CheckpointError, match=r"expected bias of length 1, got none"):
        from_tensors({"weights": pairs, "weight_scale": torch.ones(1)}, network, {"0": 4})
    with pytest.raises(CheckpointError, match=r"another network: it has layers \['1'\]"):
        from_tensors(file, network, {"1": 4})


def test_each_layer_is_rounded_to_its_bits_and_packed_so(tiny: nn.Module) -> None:
    layers = ["conv1", "block1.conv1", "block1.conv2", "block2.conv1", "block2.conv2", "block2.downsample.0", "fc"]
    bits = {name: 4 if "conv1" in name else 8 for name in layers}
    settings = Qat(epochs=0, learning_rate=0.01, calibration_images=64, mix=(4, 8), size=0.7)
    network = prepare_qat(tiny, settings, SHAPE, bits)
    calibrate_(network, random_images(64), INFO, 64, seed=0)
    packed = pack(network, tiny)
    for name in layers:
        limit = 7 if bits[name] == 4 else 127
        assert packed[f"{name}.weight"].flatten(1).abs().amax(1).tolist() == [limit] * len(packed[f"{name}.weight"])
    file = to_tensors(packed, bits)
    counts = {name: tiny.get_submodule(name).weight.numel() for name in layers}
    assert len(file["weights"]) == sum(count // (2 if bits[name] == 4 else 1) for name, count in counts.items())
    assert len(file) == 5
    found = from_tensors(file, tiny, bits)
    assert found.keys() == packed.keys()
    assert all(torch.equal(packed[name], found[name]) for name in packed)
    loaded = unpack(packed, copy.deepcopy(tiny), settings, SHAPE, bits)
    again = pack(loaded, tiny)
    assert all(torch.equal(packed[name], again[name]) for name in packed)
    images = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(2))
    network.eval()
    assert torch.allclose(loaded(images), network(images), atol=0.02 * network(images).abs().max().item())
    with pytest.raises(ArchitectureError, match="expected bits for the layers"):
        prepare_qat(tiny, settings, SHAPE, {"conv1": 4})


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"mix": (4, 8)}, "mix needs one budget"),
        ({"mix": (4, 8), "size": 0.7, "bit_operations": 0.7}, "mix needs one budget"),
        ({"mix": (4,), "size": 0.7}, "at least two widths"),
        ({"mix": (4, 9), "size": 0.7}, "mix must be 2 to 8, got 9"),
        ({"size": 0.7}, "size is a budget for mix"),
        ({"mix": (4, 8), "size": 1.5}, r"size must lie in \(0, 1\]"),
        ({"bits": 16}, "bits must be 2 to 8, or 32 for none at all, got 16"),
        ({"activation_bits": 32}, "activation_bits must be 2 to 8, got 32"),
        ({"bits": 32, "epochs": 0}, "bits 32 trains without quantization"),
        ({"bits": 32, "activation_bits": 8}, "bits 32 trains without quantization"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, object], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        Qat(**{"epochs": 1, "learning_rate": 0.01, **settings})


@pytest.mark.parametrize(("model", "most"), [("resnet32", 1.25), ("resnet56", 1.25), ("wrn28_8", 1.05)])
def test_a_file_at_a_tenth_of_the_parameters_is_hardly_more_than_a_byte_a_parameter(
    model: str, most: float, tmp_path: Path
) -> None:
    dense = build_model(model, 10, seed=0)
    kept = plan(
        dense, magnitude(layer_weights(dense)), (3, 32, 32), *Prune(criterion="magnitude", params=0.1).parts
    ).kept
    small = prune(dense, kept)
    packed, widths = {"activations.scale": torch.ones(100), "activations.zero_point": torch.ones(100).byte()}, {}
    for name, weight in layer_weights(small).items():
        packed |= {
            f"{name}.weight": torch.ones_like(weight).to(torch.int8),
            f"{name}.weight_scale": weight.new_ones(len(weight)),
        }
        packed[f"{name}.bias"] = torch.ones(len(weight), dtype=torch.int32)
        widths[name] = 8
    write_tensors(tmp_path / "packed", to_tensors(packed, widths), {"kept": kept, "model": model, "dataset": "cifar10"})
    assert 1 < (tmp_path / "packed").stat().st_size / parameters(small) <= most
