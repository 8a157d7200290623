"""Networks that are written in unusual ways."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812


def network_of(middle: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), middle, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


class Written(nn.Module):
    """A residual network that comes from its maps, 4 channels of 8 × 8, to vectors in a way of its own."""

    def __init__(self, end: Callable[[torch.Tensor], torch.Tensor], features: int = 4) -> None:
        super().__init__()
        self.one, self.bn = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.two, self.fc = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(features, 3)
        self.end = end

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn(self.one(x)).relu()
        return self.fc(self.end(x.add(self.two(x))))


class Adds(nn.Module):
    """A residual network of one add, as a function of what it is given."""

    def __init__(self, add: Callable[..., torch.Tensor], shared: bool = False, last: nn.Module | None = None) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.three = nn.Conv2d(4, 4, 3, padding=1)
        if shared:
            self.three.weight = self.two.weight
        self.add, self.last = add, last or nn.Identity()
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.one(x)
        x = self.last(self.add(self.two(x), self.three(x)))
        return self.fc(torch.flatten(self.pool(x), 1))


class OtherFirst(Adds):
    """What is registered first is not what is called first."""

    def __init__(self) -> None:
        super().__init__(torch.add)
        self.one, self.two = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.flatten(self.pool(self.one(self.two(x))), 1))


class Overwriting(Adds):
    """Sums that are written over one of their sides, as torchvision's ResNets write theirs, or not (``plain``)."""

    plain = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.one(x)
        shortcut = self.last(x)
        if self.plain:
            x = x + self.two(x)
            x = x + self.three(shortcut)
        else:
            x += self.two(x)
            x += self.three(shortcut) if isinstance(self.last, nn.ReLU) else shortcut
        return self.fc(torch.flatten(self.pool(x), 1))


def linear_behind(*modules: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten(), nn.Linear(4, 5), *modules)


class Moody(Adds):
    """Another network in train mode."""

    def __init__(self) -> None:
        super().__init__(torch.add)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.one(x)
        x = F.relu(self.two(x)) if self.training else self.two(x)
        return self.fc(torch.flatten(self.pool(x), 1))


class Flagged(Adds):
    """A network with an argument that nobody has to give."""

    def __init__(self) -> None:
        super().__init__(torch.add)

    def forward(self, x: torch.Tensor, flag: bool = False) -> torch.Tensor:
        return super().forward(x)


def hooked(module: str) -> nn.Module:
    network = network_of(nn.Identity())
    network.get_submodule(module).register_forward_hook(lambda module, inputs, output: output + 1)
    return network


def flat_and_then_overwritten(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    flat = torch.flatten(x, 1)
    x += y
    return flat
