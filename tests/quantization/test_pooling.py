"""Pooling options that ONNX Runtime's integer kernels read otherwise than torch."""

import pytest
import torch
from torch import fx, nn

from ehap.engines.onnxruntime import OnnxNetwork, audit, left_in_float, to_onnx
from ehap.errors import ArchitectureError
from ehap.quantization import pack, prepare_qat, unpack
from ehap.quantization.canonical import canonical_, options
from ehap.settings import Scheme

SETTINGS = Scheme()
SHAPE = (3, 9, 9)


def _network(pool: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), pool, nn.Flatten())
    return body.append(nn.Linear(body(torch.zeros(1, *SHAPE)).shape[1], 5)).eval()


@pytest.mark.parametrize(
    "pool",
    [
        nn.AvgPool2d(2, ceil_mode=True),  # 4.5 windows a side
        nn.AvgPool2d(3, ceil_mode=True),  # 3: nothing hangs over
        nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=True),
        nn.AvgPool2d(2, padding=1, ceil_mode=True, count_include_pad=False),
        nn.MaxPool2d(2, padding=1, ceil_mode=True),
        nn.MaxPool2d(2, dilation=3, ceil_mode=True),
    ],
)
def test_pooling_at_the_edge_is_the_same_in_onnx_runtime(pool: nn.Module) -> None:
    model, images = _network(pool), torch.randn(64, *SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        simulated = prepare_qat(model, SETTINGS, SHAPE)
        simulated(images)
        packed = pack(simulated, model)
        wanted, plain = unpack(packed, model, SETTINGS, SHAPE)(images), model(images)
        content = to_onnx(unpack(packed, model, SETTINGS, SHAPE), SHAPE, images)
        found = OnnxNetwork(content)(images)
    assert left_in_float(audit(content)) == {}
    assert (found - wanted).abs().max() < 0.02 * wanted.abs().max()
    assert (wanted - plain).abs().max() < 0.05 * plain.abs().max()


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        (
            nn.AvgPool2d(4, padding=1, ceil_mode=True),
            r"2 \(avg_pool2d\): a window of average pooling reaches beyond the padding \(ceil_mode\), where engines "
            "count otherwise; take count_include_pad=False or ceil_mode=False",
        ),
        (
            nn.AvgPool2d(2, divisor_override=3),
            r"2 \(avg_pool2d\): divisor_override=3 of average pooling has no integer kernel; put the factor into the",
        ),
    ],
)
def test_pooling_that_engines_read_otherwise_is_refused(pool: nn.Module, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        prepare_qat(_network(pool), SETTINGS, SHAPE)


@pytest.mark.parametrize("kind", [nn.AvgPool2d, nn.MaxPool2d])
@pytest.mark.parametrize("window", [2, 3])
@pytest.mark.parametrize("padding", [0, 1])
def test_ceil_mode_goes_where_it_changes_nothing(kind: type[nn.Module], window: int, padding: int) -> None:
    images = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    for stride in (1, 2, 3, 4):
        pool = kind(window, stride, padding, ceil_mode=True)
        graph = torch.export.export(pool, (images,)).module()
        assert isinstance(graph, fx.GraphModule)
        canonical_(graph)
        node = next(each for each in graph.graph.nodes if "pool2d" in str(each.target))
        hangs = pool(images).shape != kind(window, stride, padding)(images).shape
        assert options(node)[4 if kind is nn.AvgPool2d else 5] == hangs
        assert torch.equal(graph(images), pool(images))
