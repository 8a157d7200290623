"""Which networks and arguments exact traces are right for, and what is said of all others."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from ehap.curvature import channel_scores, channel_traces
from ehap.curvature.dense import dense_channel_traces
from ehap.curvature.factors import loss_factors
from ehap.errors import ArchitectureError
from ehap.graph.layers import layer_weights
from ehap.settings import Trace

Batch = tuple[Tensor, Tensor]
EXACT = Trace(batch_size=12, estimator="exact", micro_batch=5)


class Twice(nn.Module):
    """A convolution that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.fc = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(torch.relu(self.conv(x))).mean((2, 3)))


class Gated(nn.Module):
    """Squeeze and excitation: a product of two activations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.gate = nn.Linear(4, 4)
        self.fc = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv(x))
        weights = torch.relu(self.gate(x.mean((2, 3))))
        return self.fc((x * weights[:, :, None, None]).mean((2, 3)))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Twice(), r"conv: its weight is used twice"),
        (
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(144, 5)),
            "1: SiLU is not piecewise linear",
        ),
        (Gated(), "a product of two activations"),
    ],
)
def test_where_the_traces_would_not_be_the_hessians_the_module_is_named(
    model: nn.Module, message: str, batch: Batch
) -> None:
    with pytest.raises(ArchitectureError, match=message):
        channel_traces(model, *batch, EXACT)


@pytest.mark.parametrize("model", [Twice(), Gated()])
def test_gauss_newton_traces_may_be_had_knowingly(model: nn.Module, batch: Batch) -> None:
    """Against the Gauss–Newton matrix JᵀH_zJ by automatic differentiation."""
    model, images = copy.deepcopy(model).double(), batch[0].double()
    settings = Trace(batch_size=12, estimator="exact", approximate="gauss-newton")
    found = channel_traces(model, images, batch[1], settings).trace
    for name, weight in layer_weights(model).items():

        def logits(value: Tensor, name: str = name) -> Tensor:
            return functional_call(model, {f"{name}.weight": value}, (images,))

        jacobian = torch.func.jacrev(logits)(weight.detach()).flatten(3)  # (N, classes, C, D)
        columns = loss_factors(model(images).detach())
        expected = torch.einsum("kni,nicd->kncd", columns, jacobian).square().sum((0, 1, 3)) / len(images)
        assert torch.allclose(found[name], expected, rtol=1e-9)


class Reused(nn.Module):
    """One convolution, called twice with a norm of its own each time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.one, self.two = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.fc = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.two(self.conv(torch.relu(self.one(self.conv(x))))).mean((2, 3)))


class Hostile(nn.Module):
    """What a network may have that is easily overlooked: a norm without weights, and a layer that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)
        self.unused = nn.Linear(4, 2)
        self.fc = nn.Linear(4, 5)
        self.register_buffer("factor", torch.tensor(0.7))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.conv(x))) * self.factor
        return self.fc(x.mean((2, 3)) / x.size(2))


@pytest.mark.parametrize("estimator", ["exact", "hutchinson"])
def test_unused_layers_and_norms_without_weights_are_no_obstacle(
    batch: Batch, enliven: Callable[[nn.Module], None], estimator: str
) -> None:
    model = Hostile()
    model.norm.running_var.fill_(0.5)
    model = model.double().eval()
    images = batch[0].double()
    expected = dense_channel_traces(copy.deepcopy(model), images, batch[1])
    with torch.no_grad():  # a caller may have switched gradients off
        settings = Trace(batch_size=12, estimator=estimator, samples=400)  # type: ignore[arg-type]
        found = channel_traces(model, images, batch[1], settings)
    assert (found.trace["unused"] == 0).all()
    for name, values in expected.items():
        slack = 4.5 * found.standard_error[name] + 1e-9 * values.abs().max()
        assert ((found.trace[name] - values).abs() <= slack).all(), name


def test_a_convolution_with_two_norms_is_not_folded(batch: Batch, enliven: Callable[[nn.Module], None]) -> None:
    model = Reused()
    enliven(model)
    model = model.double().eval()
    images = batch[0].double()
    expected = dense_channel_traces(copy.deepcopy(model), images, batch[1])
    found = channel_traces(model, images, batch[1], Trace(batch_size=12, samples=400))
    for name, values in expected.items():
        assert ((found.trace[name] - values).abs() <= 4.5 * found.standard_error[name]).all(), name


def test_frozen_parameters_are_no_obstacle(tiny: nn.Module, batch: Batch) -> None:
    expected = channel_traces(tiny, *batch, EXACT).trace
    tiny.requires_grad_(False)
    for settings in (EXACT, Trace(batch_size=12, samples=2)):
        found = channel_traces(tiny, *batch, settings).trace
        assert settings.estimator == "hutchinson" or all(torch.equal(found[name], expected[name]) for name in found)
    assert not any(parameter.requires_grad for parameter in tiny.parameters())


GAUSS_NEWTON = replace(EXACT, approximate="gauss-newton")


class Sizes(nn.Module):
    """Sizes read off the image, a norm of vectors, sums and slices: all linear."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 6, 3), nn.BatchNorm1d(6), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).clamp(min=0)
        n, c, h, w = x.shape
        x = x.view(n, c, h * w // 1).amax(2) - x.sum((2, 3)).unsqueeze(2).transpose(1, 2).squeeze(1) / (h * w)
        return self.fc(self.norm(x))


def test_sizes_sums_and_norms_of_vectors_are_no_obstacle(batch: Batch, enliven: Callable[[nn.Module], None]) -> None:
    model, images = Sizes().double(), batch[0].double()
    enliven(model)
    found = channel_traces(model, images, batch[1], EXACT).trace
    for name, expected in dense_channel_traces(model.eval(), images, batch[1]).items():
        assert torch.allclose(found[name], expected, rtol=1e-9, atol=1e-15)


def test_scores_of_a_network_that_is_not_piecewise_linear_are_approximate_if_asked(batch: Batch) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    with pytest.raises(ArchitectureError, match=r'1: SiLU .*; say .*from Python approximate="gauss-newton"'):
        channel_scores(model, *batch, "gate")
    found = channel_scores(model, *batch, "gate", approximate="gauss-newton")["gate"]
    assert all(bool((scores > 0).all()) for scores in found.values())


def test_a_norm_that_is_not_behind_a_convolution_is_named(batch: Batch) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5)).eval()
    with pytest.raises(
        ArchitectureError, match="2: criterion gate expects every BatchNorm directly behind a convolution"
    ):
        channel_scores(model, *batch, "gate")
    assert set(channel_scores(model, *batch, "trace")["trace"]) == {"0", "4"}
