"""Simulated quantization against integer arithmetic written out by hand."""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from ehap.quantization import pack, unpack
from ehap.quantization.affine import dequantize, quantize
from tests.quantization.images import SHAPE
from tests.quantization.trained import Batch, scheme, trained


def test_quantize_and_dequantize_are_equations_9_and_10() -> None:
    scale, zero = torch.tensor(0.5), 3
    values = torch.tensor([-10.0, -1.5, -0.26, 0.0, 0.24, 0.26, 100.0])
    integers = quantize(values, scale, zero, 0, 15)
    assert integers.tolist() == [0, 0, 2, 3, 3, 4, 15]
    assert dequantize(integers, scale, zero).tolist() == [-1.5, -1.5, -0.5, 0.0, 0.0, 0.5, 6.0]


def test_the_packed_network_is_integer_arithmetic(batch: Batch) -> None:
    """Input → convolution + BatchNorm → ReLU → pool → linear, computed in int64 from the packed file alone."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(6), nn.Flatten(), nn.Linear(4, 5)
    )
    model(batch[0] * 2)
    packed = pack(trained(model.eval(), batch[0]), model)
    network = unpack(packed, model, scheme(), SHAPE)

    scales, zeros = packed["activations.scale"].double(), packed["activations.zero_point"].long()
    assert len(scales) == 3  # input, ReLU, pool
    assert (zeros[0], zeros[1]) == (128, 0)
    pixels = quantize(batch[0].double(), scales[0], zeros[0], 0, 255)
    assert packed["0.weight"].dtype == torch.int8
    assert packed["0.bias"].dtype == torch.int32
    sums = conv2d((pixels - zeros[0]).double(), packed["0.weight"].double()) + packed["0.bias"].view(1, -1, 1, 1)
    step = (packed["0.weight_scale"].double() * scales[0]).view(1, -1, 1, 1)
    active = quantize((sums * step).clamp(min=0), scales[1], zeros[1], 0, 255)
    mean = dequantize(active.double(), scales[1], zeros[1]).double().mean((2, 3))
    pooled = quantize(mean, scales[2], zeros[2], 0, 255) - zeros[2]
    logits = (pooled.double() @ packed["5.weight"].double().T + packed["5.bias"]) * packed["5.weight_scale"] * scales[2]

    assert torch.allclose(network(batch[0]).double(), logits, atol=1e-4)


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.pool, self.fc = nn.AvgPool2d(6), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        x = (self.bn2(self.conv2(x)) + x).relu()
        return self.fc(self.pool(x).flatten(1))


def test_a_residual_sum_adds_integers_of_two_scales(batch: Batch) -> None:
    """The same with a sum, whose two sides and whose result have a scale each."""
    torch.manual_seed(0)
    model = _Residual()
    model(batch[0] * 2)
    packed = pack(trained(model.eval(), batch[0]), model)
    network = unpack(packed, model, scheme(), SHAPE)

    scales, zeros = packed["activations.scale"].double(), packed["activations.zero_point"].long()
    assert len(scales) == 5  # input, ReLU, second convolution, sum, pool
    assert (zeros[1], zeros[3]) == (0, 0)
    assert 0 < zeros[2] < 255  # of both signs

    def sums(layer: str, integers: Tensor, before: int, padding: int) -> Tensor:
        centred = (integers - zeros[before]).double()
        found = conv2d(centred, packed[f"{layer}.weight"].double(), padding=padding)
        step = packed[f"{layer}.weight_scale"].double() * scales[before]
        return (found + packed[f"{layer}.bias"].view(1, -1, 1, 1)) * step.view(1, -1, 1, 1)

    pixels = quantize(batch[0].double(), scales[0], zeros[0], 0, 255)
    first = quantize(sums("conv1", pixels, 0, 0).clamp(min=0), scales[1], zeros[1], 0, 255)
    second = quantize(sums("conv2", first, 1, 1), scales[2], zeros[2], 0, 255)
    both = dequantize(first.double(), scales[1], zeros[1]) + dequantize(second.double(), scales[2], zeros[2])
    added = quantize(both.double().clamp(min=0), scales[3], zeros[3], 0, 255)
    mean = dequantize(added.double(), scales[3], zeros[3]).double().mean((2, 3))
    pooled = quantize(mean, scales[4], zeros[4], 0, 255) - zeros[4]
    logits = (pooled.double() @ packed["fc.weight"].double().T + packed["fc.bias"]) * packed["fc.weight_scale"]

    # A tie of the rounding in float32 may move one integer of the map, and with it the mean by a step.
    apart = (network(batch[0]).double() - logits * scales[4]).abs().amax(1)
    step = packed["fc.weight"].double().abs().amax() * packed["fc.weight_scale"].max() * scales[4]
    assert (apart < 1e-4).double().mean() >= 0.8
    assert apart.max() <= 2 * step
