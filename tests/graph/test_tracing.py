"""What cannot be read off a network is refused by name, with our own error."""

import copy
import types
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ehap.errors import ArchitectureError
from ehap.graph import check_reading
from ehap.graph.tracing import OVERWRITING, traced


class Conv(nn.Module):
    """A convolution; subclasses do something else with it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class MadeInForward(Conv):
    def forward(self, x: Tensor) -> Tensor:
        return nn.Conv2d(3, 3, 3)(x)


class Asserts(Conv):
    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[0] == 2
        return self.conv(x)


class Loops(Conv):
    def forward(self, x: Tensor) -> Tensor:
        for _ in range(x.shape[0]):
            x = self.conv(x)
        return x


class Looks(Conv):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv({"a": x}[x.shape[0]])


class Fills(Conv):
    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x[:, 0] = 0
        return x


def replaced(where: str) -> nn.Module:
    model = nn.Sequential(Conv(), nn.ReLU())
    module = model.get_submodule(where) if where else model
    module.forward = types.MethodType(lambda self, x: 2 * x, module)
    return model


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that torch.jit goes
        return nn.Sequential(torch.jit.script(Conv()), nn.ReLU())


def compiled_in_place() -> nn.Module:
    model = nn.Sequential(Conv(), nn.ReLU())
    model[0].compile(backend="eager")
    return model


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (MadeInForward, r"MadeInForward cannot be traced \(NameError"),
        (Asserts, "Asserts cannot be traced"),
        (Loops, r"Loops cannot be traced \(TypeError"),
        (Looks, r"Looks cannot be traced \(KeyError"),
        (Fills, r"Fills cannot be traced \(TypeError"),
        (lambda: replaced(""), "the network: its forward pass was replaced on the instance"),
        (lambda: replaced("0"), "0: its forward pass was replaced on the instance"),
        (lambda: replaced("0.conv"), r"0\.conv: its forward pass was replaced on the instance"),
        (scripted, r"0: is a scripted or traced module of torch\.jit"),
        (compiled_in_place, r"0: was compiled in place by compile\(\); give copy\.deepcopy"),
        (lambda: nn.DataParallel(Conv()), r"the network: is wrapped in DataParallel; .* \.module"),
        (lambda: AveragedModel(Conv()), r"is wrapped in AveragedModel; .* \.module"),
        (lambda: torch.compile(Conv(), backend="eager"), r"is wrapped in OptimizedModule; .* \._orig_mod"),
        (lambda: nn.Sequential(torch.compile(Conv(), backend="eager")), r"0: is wrapped .* \._orig_mod"),
        (lambda: nn.Sequential(nn.LazyConv2d(3, 3)), "0: has no weights yet"),
        (
            lambda: nn.Sequential(
                torch.ao.nn.qat.Conv2d(3, 3, 3, qconfig=torch.ao.quantization.get_default_qat_qconfig())
            ),
            r"0: is a torch\.ao\.nn\.qat.*\.Conv2d, a layer that quantizes",
        ),
    ],
)
def test_a_network_that_cannot_be_read_is_refused_by_name(build: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        traced(build())


class Operators(nn.Module):
    """Every operator that writes over what it reads, on a tensor that is read under another name, too."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.abs() + 1
        same = x
        x += 1
        x -= 0.5
        x *= 2
        x /= 3
        x //= 0.1
        x %= 7
        x **= 2
        return x + same


def test_operators_that_overwrite_are_read_as_such() -> None:
    images = torch.randn(2, 3, 4, 4)
    graph_module = traced(Operators())
    assert graph_module(images.clone()).equal(Operators()(images.clone()))
    found = {node.target for node in graph_module.graph.nodes}
    assert found >= {
        OVERWRITING[f"__{name}__"] for name in ("iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow")
    }


class WithConstant(Conv):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + torch.ones(1)


def test_tracing_leaves_nothing_behind_in_the_network() -> None:
    model, asked = WithConstant(), torch.is_tensor
    before = set(vars(model))
    graph_module = traced(model)
    assert set(vars(model)) == before
    assert torch.is_tensor is asked
    images = torch.randn(2, 3, 4, 4)
    assert graph_module(images).equal(model(images))


class Keeps(Conv):
    """A network that keeps what it has computed, in itself and in a part, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.features = nn.Sequential(nn.ReLU()), None
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.features = self.conv(x)
        self.inner.kept = self.features
        self.calls = self.calls + 1
        return self.inner(self.features)


def test_a_network_that_keeps_what_it_computes_stays_as_it_is() -> None:
    model = Keeps().train()
    images = torch.randn(2, 3, 4, 4)
    traced(model)
    check_reading(model, images)
    assert model.features is None
    assert not hasattr(model.inner, "kept")
    assert model.calls == 0
    assert model.training
    copy.deepcopy(model)
