"""Which networks and arguments exact traces are right for, and what is said of all others."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from ehap.curvature import channel_scores, channel_traces
from ehap.curvature.dense import dense_channel_traces
from ehap.curvature.factors import loss_factors
from ehap.errors import ArchitectureError, DataError, NumericsError, SettingsError
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


class Mixing(nn.Module):
    """Takes the batch's mean out: images influence each other."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).mean((2, 3))
        return self.fc(x - x.mean(0, keepdim=True))


class Keyword(nn.Module):
    """A product that hides in a keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.mul(self.one(x), other=self.two(x)).mean((2, 3)))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Mixing(), "images of a batch do not influence each other"),
        (Keyword(), "a product of two activations"),
        (
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten()),
            "do not influence each other|running statistics",
        ),
    ],
)
def test_networks_that_the_formulas_do_not_cover_are_refused(model: nn.Module, message: str, batch: Batch) -> None:
    with pytest.raises(ArchitectureError, match=message):
        channel_traces(model, *batch, EXACT)


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("estimator", ["exact", "hutchinson"])
@pytest.mark.parametrize("normalise", [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm])
def test_weights_that_are_computed_from_others_are_refused(batch: Batch, estimator: str, normalise: Any) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    normalise(model[0])
    model(batch[0])  # now the weight is a result, which cannot be copied
    settings = Trace(batch_size=12, estimator=estimator, samples=1)  # type: ignore[arg-type]
    with pytest.raises(ArchitectureError, match="0: its weight is computed from other parameters"):
        channel_traces(model, *batch, settings)


def test_frozen_parameters_are_no_obstacle(tiny: nn.Module, batch: Batch) -> None:
    expected = channel_traces(tiny, *batch, EXACT).trace
    tiny.requires_grad_(False)
    for settings in (EXACT, Trace(batch_size=12, samples=2)):
        found = channel_traces(tiny, *batch, settings).trace
        assert settings.estimator == "hutchinson" or all(torch.equal(found[name], expected[name]) for name in found)
    assert not any(parameter.requires_grad for parameter in tiny.parameters())


class Outside(nn.Module):
    """A classifier whose weight is used outside its layer: instead of it, or beside it."""

    def __init__(self, beside: bool) -> None:
        super().__init__()
        self.conv, self.pool, self.fc, self.beside = (
            nn.Conv2d(3, 6, 3),
            nn.AdaptiveAvgPool2d(1),
            nn.Linear(6, 5),
            beside,
        )

    def forward(self, x: Tensor) -> Tensor:
        x = torch.flatten(self.pool(torch.relu(self.conv(x))), 1)
        if self.beside:
            return self.fc(x + self.fc.weight[0])
        return nn.functional.linear(x, nn.functional.normalize(self.fc.weight))


class Standardised(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight - self.weight.mean((1, 2, 3), keepdim=True), self.bias)


GAUSS_NEWTON = replace(EXACT, approximate="gauss-newton")


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (Outside(beside=True), EXACT, r"fc.weight: is used outside its layer"),
        (Outside(beside=False), GAUSS_NEWTON, r"fc: its weight is used outside the layer"),
        (Outside(beside=False), EXACT, "approximate"),
        (
            nn.Sequential(Standardised(3, 4, 3), nn.Flatten(), nn.Linear(144, 5)),
            GAUSS_NEWTON,
            "0: expected the forward",
        ),
    ],
)
def test_a_weight_that_acts_otherwise_than_by_its_layer_is_refused(
    model: nn.Module, settings: Trace, message: str, batch: Batch
) -> None:
    with pytest.raises(ArchitectureError, match=message):
        channel_traces(model, *batch, settings)
    hutchinson = channel_traces(model, *batch, Trace(batch_size=12, samples=300))  # which is right for any network
    expected = dense_channel_traces(copy.deepcopy(model).double(), batch[0].double(), batch[1])
    for name, values in hutchinson.trace.items():
        error = hutchinson.standard_error[name].clamp_min(1e-6)
        assert ((values - expected[name]).abs() / error).max() < 5


@pytest.mark.parametrize("hook", ["forward", "forward_pre"])
def test_hooks_that_may_change_a_layer_are_refused(hook: str, tiny: nn.Module, batch: Batch) -> None:
    layer = tiny.get_submodule("conv1")
    handle = (
        layer.register_forward_hook(lambda module, inputs, output: 3 * output)
        if hook == "forward"
        else layer.register_forward_pre_hook(lambda module, inputs: (3 * inputs[0],))
    )
    with pytest.raises(ArchitectureError, match="conv1: expected no forward hooks"):
        channel_traces(tiny, *batch, EXACT)
    handle.remove()
    channel_traces(tiny, *batch, EXACT)


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


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ("weights", NumericsError, "conv1.weight holds NaN or Inf; expected a network whose training did not diverge"),
        ("few labels", DataError, "expected one label from 0 to 4 for each of 12 images"),
        ("high label", DataError, r"expected one label from 0 to 4 for each of 12 images, got .* to 5"),
        ("no layer", ArchitectureError, "at least one convolution or linear layer"),
        ("feature map", ArchitectureError, r"expected logits of shape \(images, classes\), got \(2, 4, 6, 6\)"),
    ],
)
@pytest.mark.parametrize("estimator", ["exact", "hutchinson"])
def test_what_does_not_go_together_is_said_first(
    change: str, kind: type[Exception], message: str, estimator: Any, tiny: nn.Module, batch: Batch
) -> None:
    images, labels = batch
    model: nn.Module = tiny
    if change == "weights":
        model.get_parameter("conv1.weight").data[0] = float("nan")
    elif change == "no layer":
        model = nn.Flatten()
    elif change == "feature map":
        model = nn.Conv2d(3, 4, 3)
    labels = labels[:5] if change == "few labels" else labels.clamp_min(5) if change == "high label" else labels
    with pytest.raises(kind, match=message):
        channel_traces(model, images, labels, Trace(batch_size=12, estimator=estimator, samples=2))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (
            lambda x: (127 * x).byte(),
            lambda y: y,
            "images normalised in floating point .*, got torch.uint8 and torch.int64",
        ),
        (lambda x: x.numpy(), lambda y: y, "expected tensors, .* got ndarray and torch.int64"),
        (lambda x: x, lambda y: y.tolist(), "expected tensors, .* got torch.float32 and list"),
        (lambda x: x[:0], lambda y: y[:0], "expected a Hessian batch of finite images, got 0 images"),
        (
            lambda x: x.double(),
            lambda y: y,
            r"cannot take images \(3, 8, 8\) of torch.float64",
        ),
        (lambda x: x.permute(0, 2, 3, 1), lambda y: y, r"cannot take images \(8, 8, 3\) .*; give images of its shape"),
    ],
)
def test_images_and_labels_of_other_kinds_are_refused(
    images: Callable[[Tensor], Any], labels: Callable[[Tensor], Any], message: str, tiny: nn.Module, batch: Batch
) -> None:
    with pytest.raises(DataError, match=message):
        channel_scores(tiny, images(batch[0]), labels(batch[1]), "gate")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("magnitude", "criteria: magnitude needs no derivatives; .* function in ehap.pruning"),
        ("bn-scale", "criteria: bn-scale needs no derivatives"),
        ("Gate", "criteria: unknown criterion .* 'Gate'; expected one of trace, .*taylor. Did you mean 'gate'"),
    ],
)
def test_scores_that_are_not_from_derivatives_are_refused(
    name: str, message: str, tiny: nn.Module, batch: Batch
) -> None:
    with pytest.raises(SettingsError, match=message):
        channel_scores(tiny, *batch, name)


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
