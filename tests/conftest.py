"""Shared by tests: a tiny residual network with every kind of part that the real ones have, and a batch for it."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ehap.models import BasicBlock

torch.set_num_threads(1)  # test workers share the cores; more threads would wait for each other


@pytest.hookimpl(tryfirst=True)  # before -m looks at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the longest tests; mark those in a browser; skip those that need a GPU where there is none."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("services")
    items.sort(key=lambda item: item.get_closest_marker("minutes") is None)
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a GPU"))


class TinyResNet(nn.Module):
    """Stem, an identity block, a stride-2 block with a 1×1 shortcut, pooling over 2×2 positions, linear."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.relu = nn.ReLU()
        self.block1 = BasicBlock(4, 4, 1)
        self.block2 = BasicBlock(4, 6, 2)
        self.pool = nn.AvgPool2d(2)
        self.fc = nn.Linear(6 * 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block2(self.block1(self.relu(self.bn1(self.conv1(x)))))
        return self.fc(torch.flatten(self.pool(x), 1))


def enliven_(model: nn.Module, seed: int = 0) -> None:
    """Give every parameter and BatchNorm statistic a random value, unlike those of new networks."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.3, generator=generator)
                module.running_mean.normal_(0, 0.3, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
            elif isinstance(module, (nn.Conv2d, nn.Linear)):
                module.weight.normal_(0, module.weight[0].numel() ** -0.5, generator=generator)
                if module.bias is not None:
                    module.bias.normal_(0, 0.1, generator=generator)


@pytest.fixture(scope="session")
def _tiny() -> nn.Module:
    model = TinyResNet()
    enliven_(model)
    return model.eval()


@pytest.fixture
def tiny(_tiny: nn.Module) -> nn.Module:
    """A tiny residual network in eval mode, the test's own copy."""
    return copy.deepcopy(_tiny)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """Twelve images (3, 8, 8) and labels for the tiny network."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(12, 3, 8, 8, generator=generator), torch.randint(5, (12,), generator=generator)


@pytest.fixture
def enliven() -> Callable[[nn.Module], None]:
    return enliven_
