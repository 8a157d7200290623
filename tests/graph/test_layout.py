"""Training in channels_last, with the few channels that pruning leaves."""

import copy

import pytest
import torch
from torch import nn

from ehap.graph.layout import channels_last_


@pytest.mark.parametrize("channels", [1, 4, 6, 7, 15, 16])
@pytest.mark.parametrize("stride", [(2, 2), (1, 2)])
def test_weight_gradients_of_a_pruned_shortcut_are_right(channels: int, stride: tuple[int, int]) -> None:
    """Where it is wrong, oneDNN also writes over memory: again and again, the process ends."""
    generator = torch.Generator().manual_seed(0)
    plain = nn.Conv2d(channels, 6, 1, stride, bias=False)
    double = copy.deepcopy(plain).double()
    images = torch.randn(5, channels, 8, 8, generator=generator)
    wanted = torch.randn(double(images.double()).shape, generator=generator)
    double(images.double()).backward(wanted.double())
    conv = channels_last_(plain)
    inputs = images.contiguous(memory_format=torch.channels_last).requires_grad_()
    for _ in range(50):
        conv.zero_grad()
        conv(inputs).backward(wanted)
        torch.testing.assert_close(conv.weight.grad.double(), double.weight.grad, rtol=1e-5, atol=1e-4)


def test_only_what_is_in_danger_computes_in_another_way() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 1, 2, padding="valid"),
        nn.Conv2d(8, 20, 3, 2),
        nn.Conv2d(20, 4, 1, 2),
        nn.Conv2d(4, 4, 1),
        nn.Conv2d(4, 4, 1, 2),
    )
    images, before = torch.randn(2, 3, 64, 64), set(network.state_dict())
    expected = network(images)
    changed = channels_last_(network)
    assert changed is network
    assert ["_conv_forward" in vars(module) for module in network] == [True, False, False, False, True]
    assert set(network.state_dict()) == before
    for same in (network, copy.deepcopy(network)):
        torch.testing.assert_close(same(images), expected)
        assert same[0].stride == (2, 2)
