"""Activation ranges from images alone."""

import copy
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from ehap.data import normalise
from ehap.errors import DataError
from ehap.quantization import SimulatedNetwork, calibrate_, pack, prepare_qat, unpack
from ehap.settings import Scheme
from tests.quantization.images import INFO, SHAPE, random_images

SETTINGS = Scheme()


def test_more_calibration_images_than_there_are_are_refused(tiny: nn.Module) -> None:
    simulated = prepare_qat(tiny, SETTINGS, SHAPE)
    with pytest.raises(DataError, match=r"qat.calibration_images: expected at most the 8 training images, got 9"):
        calibrate_(simulated, random_images(8), INFO, 9, seed=0)


@pytest.mark.parametrize("momentum", [0.99, 0.25])  # the smaller one would show from the second batch on
def test_every_batch_of_the_calibration_counts_alike(tiny: nn.Module, momentum: float) -> None:
    dark = random_images(192) // 8
    dark[130] = 255  # in the third batch
    simulated = prepare_qat(tiny, SETTINGS, SHAPE, range_momentum=momentum)
    calibrate_(simulated, dark, INFO, 192, seed=0)
    order = torch.randperm(192, generator=torch.Generator().manual_seed(0))
    lows = [normalise(part, INFO).min() for part in dark[order].split(64)]
    highs = [normalise(part, INFO).max() for part in dark[order].split(64)]
    observer = simulated.activation_quantizers()[0].activation_post_process
    torch.testing.assert_close(observer.max_val, torch.stack(highs).mean())
    torch.testing.assert_close(observer.min_val, torch.stack(lows).mean())
    assert observer.averaging_constant == pytest.approx(1 - momentum)


def test_calibration_leaves_live_norms_alone(tiny: nn.Module) -> None:
    settings = (Scheme(norms="live"), Scheme(norms="frozen"))
    networks = [prepare_qat(tiny, each, SHAPE) for each in settings]
    for network in networks:
        calibrate_(network, random_images(64), INFO, 64, seed=0)
        assert network.training
    norms = [module for module in networks[0].modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 6
    assert all(norm.training for norm in norms)
    assert torch.equal(norms[0].running_mean, tiny.bn1.running_mean)
    live, frozen = ([item.activation_post_process for item in each.activation_quantizers()] for each in networks)
    for one, other in zip(live, frozen, strict=True):
        torch.testing.assert_close(one.max_val, other.max_val, rtol=1e-2, atol=0)


def _ranges(network: SimulatedNetwork) -> list[Tensor]:
    observers = [item.activation_post_process for item in network.activation_quantizers()]
    return [torch.stack([each.min_val, each.max_val]) for each in observers]


@pytest.mark.parametrize("norms", ["frozen", "live"])
def test_calibration_by_a_loader_gives_the_ranges_of_all_images(
    tiny: nn.Module, norms: Literal["frozen", "live"]
) -> None:
    images = normalise(random_images(96), INFO)
    images[:32] /= 30  # dark ones first
    found, statistics = [], []
    for parts in ([images], images.split(32), images.flip(0).split(32), images[torch.randperm(96)].split(17)):
        network = prepare_qat(tiny, Scheme(norms=norms), SHAPE)
        with torch.no_grad():
            for part in parts:
                network(part)
        assert network.training
        found.append(torch.stack(_ranges(network)))
        statistics += [module.running_mean for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-6, atol=1e-6)  # a convolution's sums may go by the batch
    assert torch.equal(found[0][0], torch.stack([images.min(), images.max()]))
    assert len(statistics) == (6 * 4 if norms == "live" else 0)
    assert all(torch.equal(mean, tiny.bn1.running_mean) for mean in statistics[::6])


def test_calibrated_ranges_are_those_of_unrounded_activations_and_round_in_eval_mode(tiny: nn.Module) -> None:
    images = normalise(random_images(64), INFO)
    network = prepare_qat(tiny, SETTINGS, SHAPE)
    with torch.no_grad():
        plain = network(images)
        rounded = network.eval()(images)
    assert 0 < (plain - rounded).abs().max() < 0.05 * plain.abs().max()
    steps: list[Tensor] = []
    network.activation_quantizers()[-1].register_forward_hook(lambda module, inputs, output: steps.append(output))
    network(images)
    assert len(steps[0].unique()) <= 256
    with torch.no_grad():
        network.train()(images)
    assert len(steps[1].unique()) > 256


def test_a_training_moves_calibrated_ranges_by_the_momentum_alone(tiny: nn.Module) -> None:
    images = normalise(random_images(64), INFO)
    calibrated = [prepare_qat(tiny, SETTINGS, SHAPE) for _ in range(2)]
    with torch.no_grad():
        calibrated[0](images)
    calibrate_(calibrated[1], random_images(64), INFO, 64, seed=0)
    calibrated.append(unpack(pack(calibrated[0], tiny), tiny, SETTINGS, SHAPE))
    for network in calibrated:
        before = _ranges(network)[0]
        network.train()(images * 5)
        torch.testing.assert_close(_ranges(network)[0], before + 0.01 * (5 * _range(images) - before))


def _range(images: Tensor) -> Tensor:
    return torch.stack([images.min(), images.max()])


def test_ranges_go_on_from_a_copy_and_from_a_state(tiny: nn.Module) -> None:
    images = normalise(random_images(64), INFO)
    network, loaded, older = (prepare_qat(tiny, SETTINGS, SHAPE) for _ in range(3))
    network(images)
    state = copy.deepcopy(network.state_dict())
    loaded(images * 7)
    loaded.load_state_dict(state)
    copied = copy.deepcopy(network)
    for each in (network, copied, loaded):
        each(images * 3)
        torch.testing.assert_close(_ranges(each)[0], 2 * _range(images))
    assert network.state_dict().keys() == state.keys()
    # A state from before the batches were counted goes on by the momentum.
    older.load_state_dict({name: tensor for name, tensor in state.items() if not name.endswith(".batches")})
    older(images * 3)
    torch.testing.assert_close(_ranges(older)[0], (1 + 0.01 * 2) * _range(images))
