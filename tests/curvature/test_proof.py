"""The guard that compares exact scores with plain autograd: it passes where they are right, and sees what is broken."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, relu

from ehap.curvature import channel_scores, channel_traces, exact, frozen, layer_scores, samples
from ehap.curvature.proof import check_scores
from ehap.errors import ArchitectureError, MismatchError
from ehap.settings import Trace
from ehap.settings.criteria import FROM_CURVATURE

ALL = FROM_CURVATURE
Batch = tuple[Tensor, Tensor]


def settings(*criteria: str, **more: Any) -> Trace:
    return Trace(batch_size=12, estimator="exact", criteria=criteria or ALL, **more)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_exact_scores_are_those_of_plain_autograd(tiny: nn.Module, batch: Batch, kind: torch.dtype) -> None:
    found = check_scores(tiny.to(kind), batch[0].to(kind), batch[1], settings(), seed=3)
    assert found.difference < 1e-9
    assert found.channels == 2 * sum(isinstance(module, (nn.Conv2d, nn.Linear)) for module in tiny.modules())


def test_predictions_that_are_certain_hide_nothing(tiny: nn.Module, batch: Batch, monkeypatch) -> None:
    with torch.no_grad():
        tiny.fc.weight.mul_(1e4)
    assert check_scores(tiny, *batch, settings(), seed=0).difference < 1e-9
    monkeypatch.setattr(layer_scores, "_inner", _twice(layer_scores._inner))
    with pytest.raises(MismatchError, match="the score"):
        check_scores(tiny, *batch, settings("gate"), seed=0)


def _twice(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda *args: 2 * function(*args)


def _first_channels_swapped(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def swapped(*args: Tensor) -> Tensor:
        result = function(*args)
        return torch.cat([result[..., 1:2], result[..., :1], result[..., 2:]], -1)

    return swapped


@pytest.mark.parametrize(
    ("module", "name", "break_it", "criterion"),
    [
        (layer_scores, "squared_norms", _twice, "trace"),
        (layer_scores, "squared_norms", _first_channels_swapped, "trace"),
        (layer_scores, "weighted_squares", _twice, "diagonal"),
        (layer_scores, "_inner", _twice, "block"),
        (layer_scores, "_inner", _twice, "gate"),
        (layer_scores, "_inner", _twice, "fisher"),
        (layer_scores, "_inner", _twice, "taylor"),
        (exact, "loss_factors", _twice, "trace"),
    ],
)
def test_broken_scores_are_seen(
    tiny: nn.Module, batch: Batch, monkeypatch, module: Any, name: str, break_it: Any, criterion: str
) -> None:
    monkeypatch.setattr(module, name, break_it(getattr(module, name)))
    with pytest.raises(
        MismatchError, match=f"the score {criterion} by exact derivatives is not that by plain autograd"
    ):
        channel_scores(tiny, *batch, criterion)


class Squared(nn.Module):
    """Not piecewise linear, though nothing is called that says so."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).square().mean((2, 3)))


@pytest.mark.parametrize("criterion", ["trace", "gate"])
def test_a_network_that_is_not_linear_is_seen_by_its_second_derivatives(monkeypatch, criterion: str) -> None:
    torch.manual_seed(0)
    model, images, labels = Squared(), torch.randn(4, 3, 6, 6), torch.arange(4)
    with pytest.raises(ArchitectureError, match="square is not piecewise linear"):
        channel_scores(model, images, labels, criterion)
    check_scores(model, images, labels, settings(criterion, approximate="gauss-newton"), seed=0)
    monkeypatch.setattr(exact, "check_linear", lambda model: None)
    with pytest.raises(MismatchError, match=r"conv: the curvature of its (weights|gates)"):
        check_scores(model, images, labels, settings(criterion), seed=0)


def test_a_dropped_norm_is_seen(tiny: nn.Module, batch: Batch, monkeypatch) -> None:
    fold = frozen.fold_norms

    def broken(model: nn.Module) -> Any:
        found = fold(model)
        found.block1.conv1.gamma = nn.Parameter(torch.ones(4))
        return found

    monkeypatch.setattr(frozen, "fold_norms", broken)
    with pytest.raises(MismatchError, match="the score trace by exact derivatives"):
        channel_traces(tiny, *batch, settings("trace"))
    with pytest.raises(MismatchError, match="the network and its copy give different outputs"):
        channel_traces(tiny, *batch, Trace(batch_size=12, samples=1))


class Casts(nn.Sequential):
    """A network that takes no float64."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float())


def test_a_network_that_takes_no_float64_is_compared_in_its_own_type(batch: Batch, monkeypatch) -> None:
    torch.manual_seed(0)
    model = Casts(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )
    checked = settings(approximate="gauss-newton")  # the cast is no operation that is known
    assert check_scores(model, *batch, checked, seed=0).difference < 1e-3
    monkeypatch.setattr(layer_scores, "squared_norms", _twice(samples.squared_norms))
    with pytest.raises(MismatchError, match="the score trace"):
        check_scores(model, *batch, checked, seed=0)


def test_traces_say_what_was_compared(tiny: nn.Module, batch: Batch) -> None:
    found = channel_traces(tiny, *batch, settings("trace"))
    assert found.proofs.keys() == {"score_channels", "score_difference", "graph_difference"}
    assert found.proofs["score_channels"] > 0
    hutchinson = channel_traces(tiny, *batch, Trace(batch_size=12, samples=2))
    assert hutchinson.proofs.keys() == {"graph_difference"}


class NormWithRelu(nn.BatchNorm2d):
    """BatchNorm with an activation inside, as some libraries have it."""

    def forward(self, x: Tensor) -> Tensor:
        return relu(batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.1, self.eps))


def test_gates_in_front_of_a_norm_of_one_s_own_are_refused(batch: Batch) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), NormWithRelu(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    ).eval()
    with pytest.raises(
        ArchitectureError, match=r"1: criterion gate expects every BatchNorm .* a plain one of torch\.nn"
    ):
        channel_scores(model, *batch, "gate", approximate="gauss-newton")
    plain = nn.Sequential(model[0], nn.BatchNorm2d(8), nn.ReLU(), *model[2:]).eval()
    plain[1].load_state_dict(model[1].state_dict())
    found = channel_scores(model, *batch, "trace", approximate="gauss-newton")["trace"]["0"]
    torch.testing.assert_close(found, channel_scores(plain, *batch, "trace")["trace"]["0"])


def test_two_norms_in_a_row_count_both(batch: Batch) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.BatchNorm2d(6, affine=False), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)),
    ).double()
    for norm in (model[1], model[2]):
        nn.init.uniform_(norm.running_var, 0.1, 3)
        nn.init.normal_(norm.running_mean)
    images, labels = batch[0].double(), batch[1]
    gates = channel_scores(model, images, labels, "gate")["gate"]["0"]
    for channel in (0, 3):
        gate = torch.ones((), dtype=torch.float64, requires_grad=True)
        mask = torch.eye(6, dtype=torch.float64)[channel].view(-1, 1, 1)
        handle = model[2].register_forward_hook(lambda _, __, out, gate=gate, mask=mask: out * (1 + (gate - 1) * mask))
        loss = nn.functional.cross_entropy(model.eval()(images), labels)
        (first,) = torch.autograd.grad(loss, gate, create_graph=True)
        (second,) = torch.autograd.grad(first, gate)
        handle.remove()
        torch.testing.assert_close(gates[channel], second.detach() / 2)


def test_a_shared_weight_is_seen_where_the_hessian_is_not_asked_for(batch: Batch) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1), nn.Flatten(), nn.Linear(192, 5)
    )
    model[2].weight = model[0].weight
    with pytest.raises((MismatchError, ArchitectureError), match="0"):
        channel_scores(model, *batch, "trace", approximate="gauss-newton")


def test_a_layer_of_one_weight_is_compared(batch: Batch) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    images = batch[0][:, :1]
    assert check_scores(model, images, batch[1], settings(), seed=0).difference < 1e-9


def test_a_proof_keeps_derivatives_of_the_drawn_channels_only(batch: Batch) -> None:
    """With a thousand classes all of them would take gigabytes."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1000))
    seen: list[int] = []
    stack = torch.stack

    def noted(tensors: Any, *args: Any) -> Tensor:
        found = stack(tensors, *args)
        seen.append(found.numel())
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ehap.curvature.proof.torch.stack", noted)
        check_scores(model, batch[0], batch[1], settings("trace"), seed=0)
    assert seen
    assert max(seen) < 4 * 27 * 1000  # the derivatives of all logits in the first layer alone
