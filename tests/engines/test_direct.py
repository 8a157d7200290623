"""ONNX written directly: the outputs of torch, as torch's own exporter has them, or left to that."""

from collections import Counter
from collections.abc import Callable

import onnx
import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from ehap.engines.conversion import converted
from ehap.engines.onnxruntime import OnnxNetwork, floats_to_onnx, to_onnx
from ehap.engines.onnxruntime import export as exporting
from ehap.engines.onnxruntime.direct import UnknownOperationError, written
from ehap.engines.onnxruntime.session import INPUT, OUTPUT
from ehap.graph.folding import fuse_norms
from ehap.quantization import unpack
from tests.engines.networks import deployed, pruned_and_packed
from tests.quantization.images import SETTINGS, SHAPE, packed_on_images


class Known(nn.Module):
    """Every operation on floats that is written directly."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, (3, 1), padding=(1, 0), groups=4)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(8 * 9, 5)
        self.other = nn.Linear(8, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu6(self.norm(self.conv(x)))
        x = functional.relu(x + self.grouped(x))
        y = functional.max_pool2d(x, 2, stride=1, padding=1)
        pooled = functional.avg_pool2d(x, (2, 2), padding=1, count_include_pad=False, stride=2)
        whole = torch.flatten(functional.adaptive_avg_pool2d(y, 1), 1)
        return self.head(self.dropout(torch.flatten(pooled, 1))) + self.other(whole)


@pytest.fixture
def no_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's exporter to ONNX must not be called."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("torch's exporter was called")

    monkeypatch.setattr(torch.onnx, "export", refuse)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(3))


@pytest.mark.usefixtures("no_exporter")
def test_every_operation_that_is_known_gives_what_torch_gives(
    enliven: Callable[[nn.Module], None], images: Tensor
) -> None:
    model = Known()
    enliven(model)
    model.eval()
    with torch.no_grad():
        wanted = model(images)
    found = OnnxNetwork(floats_to_onnx(model, SHAPE))(images)
    assert torch.allclose(found, wanted, atol=1e-5)
    assert wanted.std() > 0.1


@pytest.mark.usefixtures("no_exporter")
def test_floats_and_integers_of_a_pruned_network_are_written_directly(tiny: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        wanted = tiny(images)
    for network in (tiny, fuse_norms(tiny)):
        assert torch.allclose(OnnxNetwork(floats_to_onnx(network, SHAPE))(images), wanted, atol=1e-5)
    _, packed = pruned_and_packed(tiny)
    content = deployed(tiny, packed, 1)
    assert not Counter(node.op_type for node in onnx.load_from_string(content).graph.node)["Identity"]


def test_both_ways_give_the_same_operators_constants_and_outputs(
    tiny: nn.Module, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = packed_on_images(tiny)
    direct = to_onnx(unpack(packed, tiny, SETTINGS, SHAPE), SHAPE)

    def refuse(*_: object) -> None:
        raise UnknownOperationError("none is known.")

    monkeypatch.setattr(exporting, "written", refuse)
    by_torch = to_onnx(unpack(packed, tiny, SETTINGS, SHAPE), SHAPE)
    assert direct != by_torch
    assert torch.equal(OnnxNetwork(direct)(images), OnnxNetwork(by_torch)(images))
    first, second = (
        Counter(node.op_type for node in onnx.load_from_string(each).graph.node) for each in (direct, by_torch)
    )
    assert first == second
    assert len(direct) < 1.1 * len(by_torch)


class Ceiling(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, 3, ceil_mode=True)


class Number(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, x, alpha=2)


class Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x)


class Last(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(x, 2)


class Training(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.batch_norm(x, torch.zeros(3), torch.ones(3))


class InPlace(nn.Module):
    """An input that one operation changes and another reads: before or after, ONNX could not say."""

    def forward(self, x: Tensor) -> Tensor:
        y = x + x
        z = y * 1
        functional.relu_(y)
        return y + z


@pytest.mark.parametrize("kind", [Ceiling, Number, Sine, Last, Training, InPlace], ids=lambda kind: kind.__name__)
def test_what_is_not_known_is_left_to_torchs_exporter(kind: type[nn.Module], images: Tensor) -> None:
    model = kind().eval()
    graph = torch.export.export(model, (images,)).module()
    with pytest.raises(UnknownOperationError, match="not known here"):
        written(graph, SHAPE, (INPUT, OUTPUT), exporting.OPSET)
    wanted = model(images)
    assert torch.allclose(OnnxNetwork(floats_to_onnx(model, SHAPE))(images), wanted, atol=1e-5)


def test_a_graph_of_other_ends_is_not_written(tiny: nn.Module) -> None:
    def two(x: Tensor, y: Tensor) -> Tensor:
        return torch.ops.aten.add.Tensor(x, y)

    def pair(x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ops.aten.relu.default(x), torch.ops.aten.relu.default(x)

    for function, said in ((two, "several inputs"), (pair, "several")):
        with pytest.raises(UnknownOperationError, match=said):
            written(fx.symbolic_trace(function), SHAPE, (INPUT, OUTPUT), exporting.OPSET)
    graph = converted(unpack(packed_on_images(tiny), tiny, SETTINGS, SHAPE))
    assert isinstance(graph, fx.GraphModule)  # so that no second export is needed
