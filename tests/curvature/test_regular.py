"""Convolutions of regular derivatives are the same convolutions, to the second derivative."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from ehap.curvature.regular import regular_


@pytest.mark.parametrize(
    "options",
    [{}, {"stride": 2, "padding": 1}, {"padding": 2, "dilation": 2, "bias": True}, {"groups": 2, "stride": (2, 1)}],
)
def test_derivatives_are_those_of_torch(options: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(0)
    plain = nn.Conv2d(4, 6, 3, **{"bias": False} | options).double()
    ours = copy.deepcopy(plain)
    regular_(ours)
    x = torch.randn(2, 4, 7, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    found = []
    for conv in (plain, ours):
        first = torch.autograd.grad(conv(x).sin().sum(), [x, conv.weight], create_graph=True)
        second = torch.autograd.grad(sum(each.cos().sum() for each in first), [x, *conv.parameters()])  # type: ignore[arg-type]
        found.append([conv(x), *first, *second])
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)


def test_no_kernel_of_a_second_derivative_is_a_feature_map() -> None:
    shapes = {}
    for regular in (False, True):
        conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        if regular:
            regular_(conv)
        x = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
        first = torch.autograd.grad(conv(x).square().sum(), [x, conv.weight], create_graph=True)
        with torch.profiler.profile(record_shapes=True) as profiler:
            torch.autograd.grad(sum(each.square().sum() for each in first), [x, conv.weight])  # type: ignore[arg-type]
        calls = [
            event for event in profiler.key_averages(group_by_input_shape=True) if event.key == "aten::convolution"
        ]
        shapes[regular] = [shape[-1] for event in calls for shape in event.input_shapes[1:2]]
    assert max(shapes[False]) >= 14  # torch's own
    assert max(shapes[True]) == 3
