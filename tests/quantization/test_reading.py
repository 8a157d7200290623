"""What prepare_qat makes of a network gives its outputs, or the network is refused; never torch's own error."""

import types
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.ao.nn import qat
from torch.ao.quantization import QConfig, default_fake_quant, default_weight_fake_quant
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from ehap.errors import ArchitectureError, CheckpointError, DataError, EhapError, MismatchError
from ehap.quantization import SimulatedNetwork, pack, prepare_qat, unpack
from ehap.settings import Scheme
from tests.conftest import TinyResNet, enliven_
from tests.quantization.images import SHAPE

SETTINGS = Scheme()


def _images(count: int = 32) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(1))


def _error(model: nn.Module, network: SimulatedNetwork) -> float:
    """Return how far simulated outputs are off, as a share of the largest."""
    with torch.no_grad():
        network(_images())
        wanted, found = model(_images()), network.eval()(_images())
    return float((found - wanted).abs().max() / wanted.abs().max())


def _two_norms() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
    return model.append(nn.Linear(288, 5))


class _Asks(nn.Module):
    """Takes one way or another by a question about its input or about torch."""

    def __init__(self, question: Callable[[Tensor], bool]) -> None:
        super().__init__()
        self.first, self.second, self.fc = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 5)
        self.question = question

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        if self.question(x):
            x = self.second(x).relu()
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize("model", [_two_norms(), _Asks(lambda x: torch.is_tensor(x))])  # noqa: PLW0108 (asked anew)
def test_unusual_networks_come_out_right(model: nn.Module) -> None:
    enliven_(model)
    model.eval()
    assert _error(model, prepare_qat(model, SETTINGS, SHAPE)) < 0.05


class _NormThenReLU(nn.BatchNorm2d):
    """As timm has it."""

    def forward(self, x: Tensor) -> Tensor:
        mean, variance = self.running_mean, self.running_var
        return functional.relu(functional.batch_norm(x, mean, variance, self.weight, self.bias, eps=self.eps))


def _scaled(self: nn.Conv2d, x: Tensor) -> Tensor:
    return functional.conv2d(x, 2 * self.weight, self.bias)


def _replaced() -> nn.Module:
    model = _two_norms()
    model[0].forward = types.MethodType(_scaled, model[0])
    return model


class _Made(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 8)

    def forward(self, x: Tensor) -> Tensor:
        return nn.Flatten()(nn.Conv2d(5, 5, 1)(self.conv(x)))


class _Values(_Asks):
    def __init__(self) -> None:
        super().__init__(lambda x: bool(x.sum() > 0))


class _TwoInputs(_Made):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
        return self.conv(x) + y


class _TwoOutputs(_Made):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return self.conv(x).flatten(1), x


def _training_quantized() -> nn.Module:
    layer = nn.Conv2d(3, 5, 8)
    layer.qconfig = QConfig(activation=default_fake_quant, weight=default_weight_fake_quant)
    return nn.Sequential(qat.Conv2d.from_float(layer), nn.Flatten())


def _norm_with_relu() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), _NormThenReLU(8), nn.Flatten(), nn.Linear(288, 5))
    enliven_(model)
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_norm_with_relu, r"1 \(batch_norm\): aten.batch_norm.default is not an operation that quantization covers"),
        (_replaced, "0: its forward pass was replaced on the instance"),
        (lambda: _Asks(lambda x: type(x) is Tensor), "traced of _Asks computes something else: .* before fc"),
        (lambda: _Asks(lambda x: not torch.is_grad_enabled()), "traced of _Asks computes something else: .* before fc"),
        (lambda: _Asks(lambda x: torch.is_grad_enabled()), "second"),
        (_Made, "the forward pass of _Made cannot be traced"),
        (_Values, "the forward pass of _Values cannot be traced"),
        (
            _TwoInputs,
            r"_TwoInputs cannot take images \(3, 8, 8\) .* \(TypeError: .*'y'\); give images .* of one input",
        ),
        (_TwoOutputs, "expected a network that gives one tensor, a row for each image, got tuple"),
        (_training_quantized, r"0: is a torch.ao.nn.qat.modules.conv.Conv2d, a layer that quantizes"),
        (lambda: torch.jit.script(TinyResNet().eval()), "is a scripted or traced module of torch.jit"),
    ],
)
def test_what_cannot_be_read_off_is_refused_by_name(make: Callable[[], nn.Module], message: str) -> None:
    model = make().eval()
    with pytest.raises(EhapError, match=message) as raised:
        prepare_qat(model, SETTINGS, SHAPE)
    assert isinstance(raised.value, (ArchitectureError, DataError, MismatchError))


class _SizeOfBatch(_Made):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).reshape(2, 5)


def test_what_torch_cannot_export_is_refused_by_the_first_line_of_its_reason() -> None:
    with pytest.raises(
        ArchitectureError, match=r"_SizeOfBatch cannot be exported \(\w+: .+\); expected a network of one"
    ):
        prepare_qat(_SizeOfBatch().eval(), SETTINGS, SHAPE)


def test_an_example_shows_what_random_images_do_not(tiny: nn.Module) -> None:
    class Bright(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.limit = tiny, 100.0

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) if isinstance(x, torch.fx.Proxy) or x.max() < self.limit else 2 * self.inner(x)

    prepare_qat(Bright().eval(), SETTINGS, SHAPE)
    with pytest.raises(MismatchError):
        prepare_qat(Bright().eval(), SETTINGS, SHAPE, example=200 * _images())


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    r"\.module": nn.DataParallel,
    r"AveragedModel.*\.module": AveragedModel,
    r"\._orig_mod": lambda model: torch.compile(model, backend="eager"),  # type: ignore[return-value]
}


@pytest.mark.parametrize("attribute", WRAPPERS)
def test_a_network_in_a_wrapper_is_refused_with_the_attribute_that_holds_it(tiny: nn.Module, attribute: str) -> None:
    network = prepare_qat(tiny, SETTINGS, SHAPE)
    network(_images())
    packed, wrapped = pack(network, tiny), WRAPPERS[attribute](tiny)
    for call in (
        lambda: prepare_qat(wrapped, SETTINGS, SHAPE),
        lambda: pack(network, wrapped),
        lambda: unpack(packed, wrapped, SETTINGS, SHAPE),
    ):
        with pytest.raises(ArchitectureError, match=attribute):
            call()


def test_integers_are_those_of_the_network_that_was_simulated(tiny: nn.Module) -> None:
    network = prepare_qat(tiny, SETTINGS, SHAPE)
    network(_images())
    with pytest.raises(CheckpointError, match="the simulated network has 7 layers, but the model has 2; give"):
        pack(network, _two_norms().eval())


def test_simulate_leaves_the_network_and_its_modes_alone(tiny: nn.Module) -> None:
    tiny.train()
    tiny.block1.eval()
    before = {name: tensor.clone() for name, tensor in tiny.state_dict().items()}
    network = prepare_qat(tiny, SETTINGS, SHAPE)
    assert network.training
    assert all(each.fake_quant_enabled and each.observer_enabled for each in network.quantizers())
    assert tiny.bn1.training
    assert not tiny.block1.bn1.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny.state_dict().items())
