"""Networks and batches that exact traces refuse."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ehap.curvature import channel_scores, channel_traces
from ehap.curvature.dense import dense_channel_traces
from ehap.errors import ArchitectureError, DataError, NumericsError, SettingsError
from ehap.settings import Trace

Batch = tuple[Tensor, Tensor]
EXACT = Trace(batch_size=12, estimator="exact", micro_batch=5)
GAUSS_NEWTON = replace(EXACT, approximate="gauss-newton")


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
