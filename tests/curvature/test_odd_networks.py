"""Networks that write over tensors, share weights or raise errors, and labels of any type."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ehap.curvature import channel_scores, channel_traces
from ehap.errors import ArchitectureError, DataError
from ehap.settings import Trace

Batch = tuple[Tensor, Tensor]


class OverwritesAnAlias(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        identity = x
        x *= 3
        return self.fc((self.b(x) + identity).relu().mean((2, 3)))


class Written(OverwritesAnAlias):
    """The same, said without overwriting."""

    def forward(self, x: Tensor) -> Tensor:
        x = 3 * self.a(x)
        return self.fc((self.b(x) + x).relu().mean((2, 3)))


def test_an_alias_that_is_overwritten_is_scored_as_what_it_is(batch: Batch) -> None:
    torch.manual_seed(0)
    model, same = OverwritesAnAlias(), Written()
    same.load_state_dict(model.state_dict())
    found, wanted = (channel_scores(each, *batch, "gate", "trace") for each in (model, same))
    for criterion in ("gate", "trace"):
        for name, values in wanted[criterion].items():
            torch.testing.assert_close(found[criterion][name], values)


class OverwritesWhatReluNeeds(OverwritesAnAlias):
    def forward(self, x: Tensor) -> Tensor:
        skip = self.a(x)
        x = skip.relu()
        x += skip
        return self.fc(self.b(x).relu().mean((2, 3)))


@pytest.mark.parametrize("estimator", ["exact", "hutchinson"])
def test_what_autograd_cannot_differentiate_is_refused_by_name(batch: Batch, estimator) -> None:
    with pytest.raises(ArchitectureError, match="overwrites a tensor from which derivatives are computed"):
        channel_traces(OverwritesWhatReluNeeds(), *batch, Trace(batch_size=12, estimator=estimator, samples=1))


@pytest.mark.parametrize("kind", [torch.int32, torch.int16, torch.uint8, torch.int8])
@pytest.mark.parametrize("estimator", ["exact", "hutchinson"])
def test_labels_of_any_integer_type_are_those_of_int64(
    tiny: nn.Module, batch: Batch, kind: torch.dtype, estimator
) -> None:
    criteria = ("fisher", "taylor", "trace") if estimator == "exact" else ("trace",)
    run = Trace(batch_size=12, estimator=estimator, samples=2, criteria=criteria)
    found, wanted = (channel_traces(tiny, batch[0], labels, run).scores for labels in (batch[1].to(kind), batch[1]))
    for criterion, scores in wanted.items():
        assert all(found[criterion][name].equal(values) for name, values in scores.items())


@pytest.mark.parametrize("kind", [torch.float32, torch.bool, torch.complex64])
def test_other_labels_are_refused(tiny: nn.Module, batch: Batch, kind: torch.dtype) -> None:
    with pytest.raises(DataError, match="labels as whole numbers, in int64, got torch"):
        channel_scores(tiny, batch[0], batch[1].to(kind), "gate")


class Raises(nn.Module):
    def __init__(self, what: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.fc, self.what = nn.Linear(192, 5), what

    def forward(self, x: Tensor) -> Tensor:
        self.what(x)
        return self.fc(x.flatten(1))


def _asserts(x: Tensor) -> None:
    assert x.shape[1] == 4


@pytest.mark.parametrize("what", [_asserts, lambda x: {}["a"], lambda x: [x].index(0), lambda x: x + None])
@pytest.mark.parametrize("estimator", ["exact", "hutchinson"])
def test_what_a_network_s_own_code_raises_is_named(batch: Batch, what: Any, estimator: Any) -> None:
    with pytest.raises(DataError, match="Raises cannot take images"):
        channel_traces(Raises(what), *batch, Trace(batch_size=12, estimator=estimator, samples=1))


def test_images_that_a_network_writes_over_stay_as_they_are(batch: Batch) -> None:
    class Writes(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            x -= 0.5
            return super().forward(x)

    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    images = batch[0].clone()
    found = channel_scores(Writes(*layers), images, batch[1], "gate")["gate"]
    assert images.equal(batch[0])
    wanted = channel_scores(nn.Sequential(*layers), images - 0.5, batch[1], "gate")["gate"]
    for name, values in wanted.items():
        torch.testing.assert_close(found[name], values)
