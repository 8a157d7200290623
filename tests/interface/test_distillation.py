"""distill: the networks of the workflow's distillation, on images that are normalised already."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ehap.data import DATASETS, DatasetInfo, normalise
from ehap.errors import ArchitectureError, ArgumentError, DataError, EhapError, NumericsError, SettingsError
from ehap.graph.layout import channels_last_
from ehap.graph.union import UnionAdd, unions_by_matrix
from ehap.interface.distillation import Augment, distill
from ehap.interface.quantization import prepare_qat
from ehap.quantization import SimulatedNetwork, pack
from ehap.repair.distillation import distill as of_workflow
from ehap.settings import Reconstruct, Scheme
from tests.conftest import enliven_
from tests.quantization.images import random_images, random_inputs
from tests.quantization.trained import thinned


def _by_workflow(teacher: nn.Module, network: nn.Module, pixels: Tensor, info: DatasetInfo, seed: int) -> nn.Module:
    settings = Reconstruct(distill_steps=12, batch_size=16, learning_rate=0.02, warmup=0.25)
    parent, student = (channels_last_(copy.deepcopy(each)) for each in (teacher, network))
    with unions_by_matrix(student):
        of_workflow(parent, student, pixels, info, settings, seed)
    return student


@pytest.mark.parametrize("padding", ["black", "the smallest value"])
@pytest.mark.parametrize(("dataset", "augment"), [("digits", "crop"), ("cifar10", "crop and mirror")])
def test_the_weights_are_those_of_the_workflow(tiny: nn.Module, dataset: str, augment: Augment, padding: str) -> None:
    info, network = DATASETS[dataset], thinned(tiny).eval()
    assert any(isinstance(module, UnionAdd) for module in network.modules())
    pixels = random_images(40)
    pixels[0, :, 0, 0] = 0
    black = normalise(torch.zeros(1, 3, 1, 1, dtype=torch.uint8), info).flatten().tolist()
    expected = _by_workflow(tiny, network, pixels, info, seed=3)
    before = [copy.deepcopy(each.state_dict()) for each in (tiny, network)]
    images = normalise(pixels, info)
    with torch.no_grad():  # of a user's evaluation; it does not matter
        found = distill(
            network,
            tiny,
            images.split(7),
            steps=12,
            batch_size=16,
            learning_rate=0.02,
            warmup=0.25,
            augment=augment,
            padding=black if padding == "black" else None,
            seed=3,
        )
    _assert_near(found, expected, 1e-5)
    assert not any(module.training for module in found.modules())
    assert torch.equal(images, normalise(pixels, info))
    for each, state in zip((tiny, network), before, strict=True):
        assert not each.training
        assert all(torch.equal(tensor, state[name]) for name, tensor in each.state_dict().items())
    assert not torch.allclose(found.fc.weight, network.fc.weight, atol=1e-3)
    assert not any("_conv_forward" in vars(module) for module in found.modules())


def _assert_near(found: nn.Module, expected: nn.Module, tolerance: float) -> None:
    tensors = expected.state_dict()
    assert found.state_dict().keys() == tensors.keys()
    for name, tensor in found.state_dict().items():
        torch.testing.assert_close(tensor, tensors[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("change", [{"augment": None}, {"augment": "crop and mirror"}, {"padding": (3, 0, 0)}])
def test_the_way_images_vary_matters(tiny: nn.Module, change: dict[str, object]) -> None:
    images, student = random_inputs(32), _other(tiny)
    usual, other = (distill(student, tiny, images, steps=4, **each) for each in ({}, change))  # type: ignore[arg-type]
    assert not torch.allclose(usual.fc.weight, other.fc.weight, atol=1e-6)


def _other(model: nn.Module) -> nn.Module:
    other = copy.deepcopy(model)
    enliven_(other, seed=1)
    return other.eval()


def test_images_of_any_form_bring_the_student_nearer_to_the_teacher() -> None:
    def network(width: int) -> nn.Module:
        layers = nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.Flatten()
        made = nn.Sequential(*layers, nn.Linear(width * 10 * 5, 7)).double().eval()
        enliven_(made)
        return made

    teacher, student = network(6), network(3)
    images = torch.randn(50, 1, 12, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = distill(student, teacher, images, steps=200, learning_rate=0.05, batch_size=25, augment=None)
    wanted = teacher(images).softmax(1)
    errors = [(each(images).softmax(1) - wanted).norm() for each in (student, found)]
    assert errors[1] < 0.5 * errors[0]
    assert found[0].weight.dtype == torch.float64


def test_a_network_that_rounds_learns_from_its_teacher(tiny: nn.Module) -> None:
    images = random_inputs(64)
    prepared = prepare_qat(tiny, Scheme(bits=3, activation_bits=8), images).eval()
    found = distill(prepared, tiny, images, steps=60, learning_rate=0.02, batch_size=16, augment=None)
    assert isinstance(found, SimulatedNetwork)
    assert not found.training
    wanted = tiny(images).softmax(1)
    errors = [(each(images).softmax(1) - wanted).norm() for each in (prepared, found)]
    assert errors[1] < 0.9 * errors[0]
    assert pack(found, found.original).keys() == pack(prepared, tiny).keys()


class _Maps(nn.Module):
    """Gives maps instead of logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


def _of_seven(model: nn.Module) -> nn.Module:
    other = copy.deepcopy(model)
    other.fc = nn.Linear(24, 7)
    return other


Mistake = tuple[Callable[[nn.Module, nn.Module, Tensor], object], type[EhapError], str]
MISTAKES: dict[str, Mistake] = {
    "no module": (lambda s, t, x: distill(s, x, x), ArgumentError, "expected a torch.nn.Module as teacher"),  # type: ignore[arg-type]
    "student in train mode": (lambda s, t, x: distill(s.train(), t, x), ArgumentError, "call network.eval() first"),
    "teacher in train mode": (lambda s, t, x: distill(s, t.train(), x), ArgumentError, "call teacher.eval() first"),
    "half": (lambda s, t, x: distill(s, t.half(), x), ArchitectureError, "give teacher.float()"),
    "two types": (lambda s, t, x: distill(s, t.double(), x), ArgumentError, "in one type, got torch.float32"),
    "frozen": (lambda s, t, x: distill(s.requires_grad_(False), t, x), ArgumentError, "network.requires_grad_(True)"),
    "pixels": (lambda s, t, x: distill(s, t, x.byte()), DataError, "normalise them"),
    "channels": (lambda s, t, x: distill(s, t, x[:, :1]), DataError, "network cannot take images (1, 8, 8)"),
    "empty": (lambda s, t, x: distill(s, t, []), DataError, "expected at least 2 images"),
    "one image": (lambda s, t, x: distill(s, t, x[:1]), DataError, "expected at least 2 images, got 1"),
    "NaN": (lambda s, t, x: distill(s, t, x * torch.nan), NumericsError, "NaN or Inf"),
    "classes": (lambda s, t, x: distill(s, _of_seven(t), x), DataError, "got 7 of the dense one and 5 of the other"),
    "maps": (lambda s, t, x: distill(_Maps().eval(), _Maps().eval(), x), DataError, "logits (N, classes), got (2, 5"),
    "steps": (lambda s, t, x: distill(s, t, x, steps=0), SettingsError, "steps must be at least 1, got 0"),
    "half a step": (lambda s, t, x: distill(s, t, x, steps=1.5), SettingsError, "steps must be a whole number"),  # type: ignore[arg-type]
    "rate": (lambda s, t, x: distill(s, t, x, learning_rate=0), SettingsError, "learning_rate must be above 0"),
    "warmup": (lambda s, t, x: distill(s, t, x, warmup=1), SettingsError, "warmup must lie in [0, 1), got 1"),
    "augment": (lambda s, t, x: distill(s, t, x, augment="flip"), ArgumentError, "'crop and mirror', 'crop' or None"),  # type: ignore[arg-type]
    "padding": (lambda s, t, x: distill(s, t, x, padding=(0, 0)), ArgumentError, "each of 3 channels, got [0.0, 0.0]"),
    "padding alone": (
        lambda s, t, x: distill(s, t, x, augment=None, padding=(0, 0, 0)),
        SettingsError,
        "padding needs augment",
    ),
    "too fast": (lambda s, t, x: distill(s, t, x, learning_rate=1e30), NumericsError, "lower the learning rate"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_answered_by_one_line(tiny: nn.Module, mistake: Mistake) -> None:
    call, error, words = mistake
    student = _other(tiny)
    before = copy.deepcopy(student.state_dict())
    with pytest.raises(error) as raised:
        call(student, tiny, random_inputs(8))
    text = str(raised.value)
    assert words in text
    assert "\n" not in text
    assert len(text) < 400
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.state_dict().items())
