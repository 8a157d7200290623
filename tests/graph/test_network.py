"""A pruned network keeps its containers and the ``train`` of its class, through copies, files and compilers."""

import copy
import io
import pickle
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2, resnet18
from torchvision.models.resnet import BasicBlock, ResNet

from ehap.graph.channels import channel_graph
from ehap.graph.network import PrunedNetwork
from ehap.pruning import prune

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class FrozenNorms(ResNet):
    """Its BatchNorms stay in eval mode, and its first convolution is not trained."""

    def __init__(self) -> None:
        super().__init__(BasicBlock, [1, 1, 1, 1], num_classes=10)

    def train(self, mode: bool = True) -> "FrozenNorms":
        """Set the mode of all but BatchNorm."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        for parameter in self.conv1.parameters():
            parameter.requires_grad_(not mode)
        return self


def _chain() -> nn.Module:
    inner = nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU())
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), inner, nn.Dropout(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)
    )


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: resnet18(num_classes=10),
    "mobilenet": lambda: mobilenet_v2(num_classes=10),
    "frozen norms": FrozenNorms,
    "sequential": _chain,
}


def _halved(model: nn.Module, seed: int = 0) -> nn.Module:
    generator, graph = torch.Generator().manual_seed(seed), channel_graph(model)
    kept = {}
    for layer, width in graph.widths().items():
        count = width if layer in graph.unpruned() else max(1, width // 2)
        kept[layer] = sorted(torch.randperm(width, generator=generator)[:count].tolist())
    return prune(model, kept)


def _copies(network: nn.Module) -> dict[str, nn.Module]:
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    copies = {"copy": copy.deepcopy(network), "same weights": copy.copy(network)}
    return copies | {"pickle": pickle.loads(pickle.dumps(network)), "file": loaded}


@pytest.mark.parametrize("name", NETWORKS)
def test_copies_compute_the_same_and_keep_containers_and_modes(name: str) -> None:
    small = _halved(NETWORKS[name]().eval())
    answers = small(IMAGES)
    assert isinstance(small, PrunedNetwork)
    for each in _copies(small).values():
        assert torch.equal(each(IMAGES), answers)
        assert list(each.state_dict()) == list(small.state_dict())
        assert {path: type(module).__mro__[1] for path, module in each.named_modules()} == {
            path: type(module).__mro__[1] for path, module in small.named_modules()
        }
        assert [module.training for module in each.modules()] == [module.training for module in small.modules()]


@pytest.mark.parametrize("name", NETWORKS)
def test_compilers_and_a_training_take_it(name: str) -> None:
    small = _halved(NETWORKS[name]().eval())
    answers = small(IMAGES).detach()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit and torch.export warn of themselves
        scripted = torch.jit.script(small)
        exported = torch.export.export(small, (IMAGES,)).module()
    for each in (scripted, torch.compile(small, backend="eager"), exported):
        torch.testing.assert_close(each(IMAGES), answers, rtol=1e-4, atol=1e-5)
    assert torch.equal(_halved(small, 1)(IMAGES), _halved(small, 1)(IMAGES))
    optimizer = torch.optim.SGD(small.parameters(), 0.1)
    small.train()(IMAGES).square().mean().backward()
    optimizer.step()
    assert not torch.equal(small.eval()(IMAGES), answers)


def test_modules_are_found_by_path_place_and_iteration_and_a_block_alone_raises() -> None:
    small = _halved(resnet18(num_classes=10).eval())
    block = small.layer1[0]
    assert isinstance(small.layer1, nn.Sequential)
    assert len(small.layer1) == 2
    assert [each.conv1 for each in small.layer1] == [small.get_submodule(f"layer1.{place}.conv1") for place in (0, 1)]
    assert block.conv1.out_channels == 32
    for alone in (block, small.layer1):
        with pytest.raises(NotImplementedError):  # the sum in its forward pass may be a union
            alone(torch.zeros(1, 32, 8, 8))


def test_a_pruned_sequential_has_a_length_and_places() -> None:
    small = _halved(_chain().eval())
    assert len(small) == 6
    assert [type(each).__name__ for each in small][-2:] == ["Flatten", "Linear"]
    assert small[0].out_channels == 2
    assert small[1][0].out_channels == 3
    assert isinstance(small[2], nn.Dropout)
    assert torch.equal(small[4:](small[:4](IMAGES)), small(IMAGES))


def test_a_child_that_the_forward_pass_does_not_use_raises_when_it_is_called() -> None:
    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList([nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)])

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.parts[2](self.parts[0](x))
            return found

    small = _halved(Partly().eval())
    assert len(small.parts) == 3
    assert small.parts[2].in_channels == 2
    with pytest.raises(NotImplementedError):
        small.parts[1](IMAGES)


@pytest.mark.parametrize("form", ["itself", "copy", "same weights", "pickle", "file", "pruned again"])
def test_a_train_of_the_class_sets_its_modes(form: str) -> None:
    small = _halved(FrozenNorms().eval())
    network = {"itself": small, "pruned again": _halved(small), **_copies(small)}[form]
    assert network.train() is network
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)
    assert network.training
    assert network.layer1[0].conv1.training
    assert not network.conv1.weight.requires_grad
    network.eval()
    assert network.conv1.weight.requires_grad
    assert not any(module.training for module in network.modules())
    assert not any("_skeleton" in name for name in network.state_dict())


class AsItStands(FrozenNorms):
    """It changes nothing where the network is in the wanted mode already."""

    def train(self, mode: bool = True) -> "AsItStands":
        """Set the mode where it is another one."""
        return self if mode == self.training else super().train(mode)


@pytest.mark.parametrize("kind", [FrozenNorms, AsItStands])
def test_a_train_of_the_class_sees_what_was_set_by_hand(kind: Callable[[], nn.Module]) -> None:
    model = kind().eval()
    small = _halved(model)
    for network in (model, small):
        network.train()
        network.conv1.weight.requires_grad_(True)
        network.fc.weight.requires_grad_(False)
        network.layer1.eval()
        network.train()
    assert {name: each.requires_grad for name, each in small.named_parameters()} == {
        name: each.requires_grad for name, each in model.named_parameters()
    }
    modes = {name: module.training for name, module in model.named_modules()}
    known = {name: module.training for name, module in small.named_modules() if name in modes}
    assert known == {name: modes[name] for name in known}
    assert small.layer1.training == (kind is FrozenNorms)
    assert not small.fc.weight.requires_grad
