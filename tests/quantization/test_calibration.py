"""Activation ranges from images alone."""

import pytest
import torch
from torch import nn

from ehap.data import normalise
from ehap.errors import DataError
from ehap.quantization import calibrate_, simulate
from ehap.settings import Qat
from tests.quantization.images import INFO, SHAPE, random_images

SETTINGS = Qat(epochs=0, learning_rate=0.01, calibration_images=64)


def test_more_calibration_images_than_there_are_are_refused(tiny: nn.Module) -> None:
    simulated = simulate(tiny, SETTINGS, SHAPE)
    with pytest.raises(DataError, match=r"qat.calibration_images: expected at most the 8 training images, got 9"):
        calibrate_(simulated, random_images(8), INFO, 9, seed=0)


def test_every_batch_of_the_calibration_counts_alike(tiny: nn.Module) -> None:
    dark = random_images(192) // 8
    dark[130] = 255  # in the third batch
    simulated = simulate(tiny, SETTINGS, SHAPE)
    calibrate_(simulated, dark, INFO, 192, seed=0)
    order = torch.randperm(192, generator=torch.Generator().manual_seed(0))
    lows = [normalise(part, INFO).min() for part in dark[order].split(64)]
    highs = [normalise(part, INFO).max() for part in dark[order].split(64)]
    observer = simulated.activation_quantizers()[0].activation_post_process
    torch.testing.assert_close(observer.max_val, torch.stack(highs).mean())
    torch.testing.assert_close(observer.min_val, torch.stack(lows).mean())
    assert observer.averaging_constant == pytest.approx(0.01)


def test_calibration_leaves_live_norms_alone(tiny: nn.Module) -> None:
    settings = (Qat(epochs=1, learning_rate=0.01, norms="live"), Qat(epochs=1, learning_rate=0.01, norms="frozen"))
    networks = [simulate(tiny, each, SHAPE) for each in settings]
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
