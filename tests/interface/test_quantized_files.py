"""Quantized networks in files: of ``save``, and of the workflow's stage with the record beside the integers."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ehap.errors import CheckpointError, DataError, PlanError
from ehap.graph.channels import channel_graph
from ehap.interface.files import load, save
from ehap.interface.quantization import quantize
from ehap.pruning import PruningPlan, prune
from ehap.quantization import SimulatedNetwork, calibrate_, called_layers, pack, prepare_qat, unpack
from ehap.settings import Scheme
from tests.pruning.plans import random_plan
from tests.quantization.images import IMAGES, INFO, SHAPE, random_images, random_inputs
from tests.quantization.trained import trained


@pytest.fixture
def plan(tiny: nn.Module) -> PruningPlan:
    return PruningPlan(random_plan(tiny, 3), channel_graph(tiny).widths(), 1, 1, 1, 1, SHAPE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "network.safetensors"


def calibrated(model: nn.Module, scheme: Scheme, bits: dict[str, int] | None = None) -> SimulatedNetwork:
    network = prepare_qat(model, scheme, SHAPE, bits)
    calibrate_(network, random_images(IMAGES), INFO, IMAGES, seed=0)
    return network.eval()


def as_engines_round(network: SimulatedNetwork) -> SimulatedNetwork:
    """Return the same network with its biases rounded."""
    packed = pack(copy.deepcopy(network), network.original)
    return unpack(packed, network.original, network.scheme, network.input_shape, network.layer_bits)


def same_integers(found: SimulatedNetwork, wanted: SimulatedNetwork) -> bool:
    one, other = (pack(copy.deepcopy(each), each.original) for each in (found, wanted))
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@torch.no_grad()
@pytest.mark.parametrize(
    "scheme", [Scheme(), Scheme(bits=4, activation_bits=8), Scheme(bits=8, activation_bits=4), Scheme(bits=3)]
)
def test_a_quantized_network_comes_back(scheme: Scheme, tiny: nn.Module, plan: PruningPlan, path: Path) -> None:
    network = calibrated(prune(tiny, plan), scheme)
    before = copy.deepcopy(network.state_dict())
    save(network, plan, path)
    assert all(torch.equal(each, before[name]) for name, each in network.state_dict().items())
    images = random_inputs(16)
    for model in (None, tiny):
        random = torch.random.get_rng_state()
        found = load(path, model)
        assert torch.equal(torch.random.get_rng_state(), random)
        assert isinstance(found, SimulatedNetwork)
        assert not found.training
        assert (found.scheme, found.input_shape) == (scheme, SHAPE)
        assert same_integers(found, network)
        assert torch.equal(found(images), as_engines_round(network)(images))


@torch.no_grad()
def test_the_answers_of_a_loaded_network_stay_bit_for_bit(tiny: nn.Module, path: Path) -> None:
    save(calibrated(tiny, Scheme()), None, path)
    content, first = path.read_bytes(), load(path)
    save(first, None, path)
    assert path.read_bytes() == content
    assert torch.equal(load(path)(random_inputs(16)), first(random_inputs(16)))
    assert torch.equal(load(path, tiny)(random_inputs(16)), first(random_inputs(16)))


@torch.no_grad()
@pytest.mark.parametrize("bits", [8, 4])
def test_a_network_of_quantize_gives_the_same_answers_bit_for_bit(
    bits: int, tiny: nn.Module, plan: PruningPlan, path: Path
) -> None:
    images = random_inputs(IMAGES)
    network = quantize(prune(tiny, plan), Scheme(bits=bits), images)
    save(network, plan, path)
    for model in (None, tiny):
        assert torch.equal(load(path, model)(images), network(images))


@torch.no_grad()
def test_bits_of_each_layer_come_back(tiny: nn.Module, path: Path) -> None:
    bits = {name: 4 if number % 2 else 8 for number, name in enumerate(called_layers(tiny))}
    network = calibrated(tiny, Scheme(mix=(4, 8), size=0.8), bits)
    save(network, None, path)
    found = load(path)
    assert isinstance(found, SimulatedNetwork)
    assert found.layer_bits == bits
    assert found.scheme == network.scheme
    assert same_integers(found, network)


@pytest.mark.parametrize("norms", ["frozen", "live"])
def test_a_trained_network_comes_back(norms: str, tiny: nn.Module, batch: tuple[Tensor, Tensor], path: Path) -> None:
    network = trained(tiny, batch[0], norms=norms)  # type: ignore[arg-type]
    save(network, None, path, example=batch[0])
    assert same_integers(load(path), network)  # type: ignore[arg-type]


def test_networks_without_ranges_and_other_plans_are_refused(tiny: nn.Module, plan: PruningPlan, path: Path) -> None:
    with pytest.raises(DataError, match="no activation ranges yet"):
        save(prepare_qat(tiny, Scheme(), SHAPE), None, path)
    with pytest.raises(PlanError, match="another network"):
        save(calibrated(tiny, Scheme()), plan, path)
    assert not path.exists()


def test_the_network_in_floating_point_has_no_values_that_could_be_taken_for_weights(
    tiny: nn.Module, path: Path
) -> None:
    save(calibrated(tiny, Scheme()), None, path)
    for model in (None, tiny):
        found = load(path, model)
        assert isinstance(found, SimulatedNetwork)
        assert all(each.isnan().all() for each in found.original.parameters())
    assert not any(each.isnan().any() for each in tiny.parameters())


def test_another_model_is_refused(tiny: nn.Module, path: Path) -> None:
    save(calibrated(tiny, Scheme()), None, path)
    other = copy.deepcopy(tiny)
    other.relu = nn.ReLU6()
    with pytest.raises(CheckpointError, match="another network"):
        load(path, other)
