"""What cannot be quantized is refused before it is trained, by name."""

import pytest
import torch
from torch import Tensor, nn

from ehap.errors import ArchitectureError, DataError, NumericsError, SettingsError
from ehap.quantization import prepare_qat
from ehap.settings import Qat, Scheme
from tests.quantization.images import SHAPE

SETTINGS = Scheme()


class _OverChannels(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1, keepdim=True)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(
    ("part", "message"),
    [
        (nn.AdaptiveAvgPool2d(3), r"expected windows of equal size, got a map of \(8, 8\) to be pooled to \(3, 3\)"),
        (
            nn.Conv2d(3, 3, 2, padding="same"),
            r"expected as much padding on both sides; take an odd kernel, or give the padding in pixels",
        ),
        (nn.Dropout(0.5), "expected dropout in eval mode; call eval"),
        (_OverChannels(), r"expected a mean over height and width, got one over \[1\]"),
        (nn.Sequential(nn.SiLU()), r"1\.0 \(silu\): aten.silu.default is not an operation that quantization covers"),
        (
            nn.Hardtanh(-1, 1),
            r"1 \(hardtanh\): expected a Hardtanh with lower bound 0, such as ReLU6, got lower bound -1",
        ),
    ],
)
def test_what_no_integer_kernel_computes_is_refused_before_training(part: nn.Module, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        prepare_qat(nn.Sequential(nn.Conv2d(3, 3, 1), part), SETTINGS, SHAPE)


class _CalledTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.conv(x).relu())


class _Function(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.weight = nn.Parameter(torch.ones(3, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(self.conv(x).relu(), self.weight)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (_CalledTwice(), "conv: expected layers that are called once in a forward pass, got more calls"),
        (_Function(), r"expected convolutions .* as modules .*, got 2 of them .* but only the modules \['conv'\]"),
    ],
)
def test_a_layer_that_has_no_name_of_its_own_is_refused_before_training(model: nn.Module, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        prepare_qat(model, SETTINGS, SHAPE)


def test_norms_without_statistics_cannot_go_on_living() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False))
    for norms in ("live", "frozen"):
        with pytest.raises(ArchitectureError, match="expected BatchNorm2d with running statistics"):
            prepare_qat(model, Scheme(norms=norms), SHAPE)
    with pytest.raises(SettingsError, match="norms must be frozen where epochs is 0: only a training moves statistics"):
        Qat(epochs=0, learning_rate=0.01, calibration_images=64, norms="live")


@pytest.mark.parametrize("name", ["block1.conv2.weight", "bn1.running_var", "fc.bias"])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_no_numbers_are_refused_by_the_name_of_their_layer(
    tiny: nn.Module, name: str, value: float
) -> None:
    tiny.state_dict()[name].view(-1)[1] = value
    count = tiny.state_dict()[name].numel()
    with pytest.raises(
        NumericsError, match=f"{name}: expected finite numbers to quantize, got NaN or Inf in 1 of {count}"
    ):
        prepare_qat(tiny, SETTINGS, SHAPE)


def test_other_types_and_shapes_are_refused(tiny: nn.Module) -> None:
    with pytest.raises(ArchitectureError, match=r"conv1.weight: expected float32, got torch.float64; take float\(\)"):
        prepare_qat(tiny.double(), SETTINGS, SHAPE)
    with pytest.raises(DataError, match=r"expected the shape \(C, H, W\) of one image, got \(1, 3, 8, 8\)"):
        prepare_qat(tiny.float(), SETTINGS, (1, *SHAPE))  # type: ignore[arg-type]


def test_an_operation_that_the_scheme_does_not_cover_is_named() -> None:
    with pytest.raises(ArchitectureError, match=r"aten\.sigmoid\.default is not an operation that quantization covers"):
        prepare_qat(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sigmoid()), SETTINGS, SHAPE)
    with pytest.raises(ArchitectureError, match="expected a BatchNorm directly behind a convolution of its own"):
        prepare_qat(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)), SETTINGS, SHAPE)
