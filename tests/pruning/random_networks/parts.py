"""What the source of random networks refers to: layers of one's own, hooks, forward passes to put on an instance."""

import types
from collections import namedtuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.prune import random_unstructured as unstructured  # noqa: F401

Answers = namedtuple("Answers", ["logits", "features"])


class PlainConv(nn.Conv2d):
    pass


class EqualConv(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight, self.bias)


class CallingConv(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class StandardizedConv(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, standard(self.weight), self.bias)


class ShiftedConv(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 0.5


class PlainNorm(nn.BatchNorm2d):
    pass


class EqualNorm(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class NormWithRelu(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(super().forward(x))


class NormPlusOne(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1


class ShiftedRelu(nn.ReLU):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 0.5


def standard(weight: Tensor) -> Tensor:
    return weight - weight.mean((1, 2, 3), keepdim=True)


def standardized(self: nn.Conv2d, x: Tensor) -> Tensor:
    return self._conv_forward(x, standard(self.weight), self.bias)


def swapped(self: nn.Conv2d, x: Tensor) -> Tensor:
    """Give the channels in the opposite order."""
    return self._conv_forward(x, self.weight, self.bias).flip(1)


def shifted(self: nn.Module, x: Tensor) -> Tensor:
    return type(self).forward(self, x) + 0.5


def scaled(self: nn.Module, x: Tensor) -> Tensor:
    return type(self).forward(self, x) * 2


def with_relu(self: nn.Module, x: Tensor) -> Tensor:
    return functional.relu(type(self).forward(self, x))


def equal(self: nn.Module, x: Tensor) -> Tensor:
    return type(self).forward(self, x)


def replace_(module: nn.Module, forward: object) -> None:
    """Replace the forward pass of one instance."""
    module.forward = types.MethodType(forward, module)


def double_after(module: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> Tensor:
    return result * 2


def shift_after(module: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> Tensor:
    return result + 0.5


def look(module: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
    """Change nothing, as a hook that records shapes."""


def double_before(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (given[0] * 2,)


def shuffled(x: Tensor) -> Tensor:
    """Return channels in the order of a shuffle in two groups."""
    count, channels, height, width = x.shape
    return x.view(count, 2, channels // 2, height, width).transpose(1, 2).reshape(count, channels, height, width)


def activated(x: Tensor) -> Tensor:
    """Do an activation in a function of one's own."""
    return functional.relu(x)


@torch.fx.wrap
def wrapped(x: Tensor) -> Tensor:
    """Stay one call in a traced graph."""
    return functional.relu(x)
