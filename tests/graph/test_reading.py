"""Networks that torch.fx misreads without a word are found out by an example; the message says where."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn.functional import relu

from ehap.errors import ArchitectureError, DataError, EhapError, MismatchError, NumericsError
from ehap.graph import answers_of, check_reading, example_images
from ehap.graph.tracing import traced

SHAPE = (3, 8, 8)


class Net(nn.Module):
    """Two convolutions with a BatchNorm between them; subclasses say what is done with them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = (
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.Conv2d(6, 6, 3, padding=1),
        )
        self.fc = nn.Linear(6, 4)

    def body(self, x: Tensor) -> Tensor:
        return self.second(self.norm(self.first(x)).relu())

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(x).relu().mean((2, 3)))


class AsksForGradients(Net):
    def body(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x))
        return self.second(x) if torch.is_grad_enabled() else x


class AsksForItsType(Net):
    def body(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x))
        return self.second(x) if isinstance(x, Tensor) else x


class AsksForTracing(Net):
    def body(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x))
        return x if isinstance(x, fx.Proxy) else self.second(x)


class LeavesTheGraph(Net):
    def body(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.second(self.norm(x)) if type(x) is Tensor else 2 * x


class Draws(Net):
    def body(self, x: Tensor) -> Tensor:
        return self.second(self.norm(self.first(x)) + torch.rand(1))


class AsksIsTensor(Net):
    def body(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x))
        return self.second(x) if torch.is_tensor(x) and not hasattr(x, "anything") else x


class Overwrites(Net):
    def body(self, x: Tensor) -> Tensor:
        x = self.first(x)
        same = x
        x *= 3
        x -= 1
        return self.second(x) + same


class CallsTwice(Net):
    def body(self, x: Tensor) -> Tensor:
        return self.norm(self.second(self.norm(self.second(self.norm(self.first(x))))))


class Keywords(Net):
    def body(self, x: Tensor) -> Tensor:
        x = self.norm(input=self.first(input=x))
        return relu(self.second(x), inplace=True)


def hooked(where: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        model = Net()
        model.get_submodule(where).register_forward_hook(lambda _, __, output: 2 * output)
        return model

    return build


def _alive(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.running_mean)
            nn.init.normal_(module.weight)
    return model


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("build", "where"),
    [
        (AsksForGradients, "second is called"),
        (AsksForItsType, "before fc"),
        (AsksForTracing, "before fc"),
        (LeavesTheGraph, "before fc"),
        (Draws, "each time that it is called"),
        (hooked("norm"), r"from norm \(BatchNorm2d\) on"),
        (hooked("fc"), r"from fc \(Linear\) on"),
    ],
)
def test_a_network_that_is_misread_is_refused_and_the_place_is_named(
    build: Callable[[], nn.Module], where: str
) -> None:
    model = _alive(build()).train()
    with pytest.raises(MismatchError, match=where):
        check_reading(model, example_images(model, SHAPE))
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("build", [Net, AsksIsTensor, Overwrites, CallsTwice, Keywords])
def test_a_network_that_is_read_as_it_is_passes(build: Callable[[], nn.Module]) -> None:
    model = _alive(build())
    found = check_reading(model, example_images(model, SHAPE))
    assert found.difference < 1e-5
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_class_of_torch_that_was_patched_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = nn.Conv2d.forward
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, x: 2 * plain(self, x))
    with pytest.raises(MismatchError, match=r"from first \(Conv2d\) on"):
        check_reading(Net(), example_images(Net(), SHAPE))


def test_an_edit_of_the_graph_is_seen() -> None:
    model = _alive(Net()).eval()
    graph_module = traced(model)
    relu = next(node for node in graph_module.graph.nodes if node.target == "relu")
    relu.replace_all_uses_with(relu.args[0])
    graph_module.recompile()
    with pytest.raises(MismatchError, match="before second"):
        check_reading(model, example_images(model, SHAPE), graph_module)


class Dictionary(Net):
    """Two outputs, of other shapes."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = self.body(x)
        return {"maps": maps, "out": self.fc(maps.relu().mean((2, 3)))}


class MisreadDictionary(Dictionary):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return super().forward(x) if isinstance(x, Tensor) else {"maps": self.first(x), "out": self.fc(x.mean((2, 3)))}


def test_several_outputs_are_all_compared() -> None:
    model = _alive(Dictionary())
    assert check_reading(model, example_images(model, SHAPE)).difference < 1e-5
    with pytest.raises(MismatchError):
        check_reading(MisreadDictionary(), example_images(model, SHAPE))


class Sums(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).sum()


class TwoInputs(Net):
    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        return super().forward(x) + other


class Refuses(Net):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1:] != (3, 9, 9):
            raise KeyError("sides")
        return super().forward(x)


@pytest.mark.parametrize(
    ("model", "images", "error", "message"),
    [
        (Net(), torch.randn(2, 4, 8, 8), DataError, r"Net cannot take images \(4, 8, 8\)"),
        (TwoInputs(), torch.randn(2, *SHAPE), DataError, "TwoInputs cannot take images .* to a network of one input"),
        (Refuses(), torch.randn(2, *SHAPE), DataError, "Refuses cannot take images .*KeyError: 'sides'"),
        (Net().eval(), torch.full((2, *SHAPE), float("nan")), NumericsError, "outputs hold NaN or Inf"),
        (Sums(), torch.randn(2, *SHAPE), ArchitectureError, r"a row for each of 2 images, got Tensor of \[\(\)\]"),
    ],
)
def test_networks_and_images_that_do_not_go_together(
    model: nn.Module, images: Tensor, error: type[EhapError], message: str
) -> None:
    with pytest.raises(error, match=message):
        answers_of(model, images)


def test_convolutions_are_padded_as_their_mode_says() -> None:
    modes = ("zeros", "reflect", "replicate", "circular")
    layers = [nn.Conv2d(3, 3, 3, padding=1, padding_mode=mode) for mode in modes]
    model = nn.Sequential(*layers, nn.Conv2d(3, 3, 3, padding="same", dilation=2))
    assert check_reading(model, example_images(model, SHAPE)).difference < 1e-5


def test_random_images_are_always_the_same_and_of_the_network_s_type() -> None:
    model = Net().double()
    images = example_images(model, SHAPE)
    assert images.dtype == torch.float64
    assert images.equal(example_images(model, SHAPE))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_norms_in_float32_behind_convolutions_in_half_precision_are_read(kind: torch.dtype) -> None:
    model = _alive(Net()).to(kind)
    check_reading(model, example_images(model, SHAPE))
    model.norm.float()
    check_reading(model, example_images(model, SHAPE))


def test_images_stay_as_they_are() -> None:
    class Writes(Net):
        def forward(self, x: Tensor) -> Tensor:
            x -= 0.5
            return super().forward(x)

    model, images = Writes(), torch.randn(2, *SHAPE)
    before = images.clone()
    check_reading(model, images)
    assert images.equal(before)
