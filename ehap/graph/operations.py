"""How operations of a forward pass treat channels."""

import operator

import torch
from torch import fx, nn

from ehap.errors import ArchitectureError
from ehap.graph.forward import asks_for_shape
from ehap.graph.union import UnionAdd

ADDS = (operator.add, operator.iadd, torch.add)
KEEPING_MODULES = (
    nn.ReLU,
    nn.ReLU6,
    nn.Hardtanh,
    nn.LeakyReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Hardswish,
    nn.Tanh,
    nn.Identity,
    nn.Dropout,
    nn.Dropout2d,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
)
KEEPING_FUNCTIONS = (
    torch.relu,
    torch.relu_,
    torch.tanh,
    nn.functional.relu,
    nn.functional.relu6,
    nn.functional.leaky_relu,
    nn.functional.elu,
    nn.functional.gelu,
    nn.functional.silu,
    nn.functional.hardswish,
    nn.functional.max_pool2d,
    nn.functional.avg_pool2d,
    nn.functional.adaptive_avg_pool2d,
)
"""Operations that map zero channels to zero channels and keep their order."""
MAP_AXES = 4  # of a batch of feature maps: images, channels, rows, columns


def kind_of(node: fx.Node, module: nn.Module | None) -> str:
    """Return the kind of step, as ``ehap.graph.channels.Step`` lists them, that an operation is.

    Args:
        node: The operation.
        module: Which it calls; None where it calls none.

    Raises:
        ArchitectureError: Pruning does not know the operation.
    """
    if node.op in ("placeholder", "output"):
        return {"placeholder": "input", "output": "output"}[node.op]
    kind = _kind_of_function(node) if module is None else _kind_of_module(node, module)
    if kind is None:
        by_size = asks_for_shape(node)
        while asks_for_shape(node) and node.users:  # go to the user's own operation on that shape
            node = next(iter(node.users))
        if by_size and "pool" in str(getattr(node.target, "__name__", node.target)):
            raise ArchitectureError(
                f"{node.name}: pools by the size of its input, as x.size(3) or x.shape[-1] give it, which pruning does "
                "not follow; to pool whole maps write nn.AdaptiveAvgPool2d(1) or F.adaptive_avg_pool2d(x, 1), else "
                "give the size as a number."
            )
        what = module if module is not None else getattr(node.target, "__name__", node.target)
        where = node.name if module is None else node.target
        raise ArchitectureError(
            f"{where}: {what} is not an operation that pruning knows, or not with these arguments; expected "
            "convolutions, linear layers, BatchNorm2d, adds of two feature maps, flatten(1), activations that map 0 to "
            "0, and pooling." + (" To flatten, write x.flatten(1)." if what in ("view", "reshape") else "")
        )
    return kind


def _kind_of_module(node: fx.Node, module: nn.Module) -> str | None:
    if isinstance(module, UnionAdd):
        return "union"
    for kind, types in (("conv", nn.Conv2d), ("linear", nn.Linear), ("norm", nn.BatchNorm2d)):
        if isinstance(module, types):
            alone = isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels == module.out_channels
            return "depthwise" if alone else kind
    if isinstance(module, nn.Hardtanh) and not module.min_val <= 0 <= module.max_val:
        raise ArchitectureError(
            f"{node.target}: expected an activation that maps 0 to 0, as a removed channel is 0, got {module}."
        )
    if isinstance(module, nn.Flatten):
        return "flatten" if module.start_dim == 1 and module.end_dim in (-1, MAP_AXES - 1) else None
    return "keep" if isinstance(module, KEEPING_MODULES) else None


def _kind_of_function(node: fx.Node) -> str | None:
    if node.target in KEEPING_FUNCTIONS:
        return "keep"
    if node.target in ADDS:
        plain = not node.kwargs and all(isinstance(item, fx.Node) for item in node.args)
        return "add" if plain and len(node.args) == 2 else None  # noqa: PLR2004 (with alpha it is another sum)
    if node.target is torch.flatten:
        start, end = (_argument(node, *which) for which in ((1, "start_dim", 0), (2, "end_dim", -1)))
        return "flatten" if start in (1, 1 - MAP_AXES) and end in (-1, MAP_AXES - 1) else None
    if node.target is torch.mean:
        axes = _argument(node, 1, "dim", None)
        whole = isinstance(axes, (list, tuple)) and sorted(axis % MAP_AXES for axis in axes) == [2, 3]
        if not whole or node.kwargs.get("dtype") is not None:
            return None
        return "keep" if _argument(node, 2, "keepdim", False) else "flatten"
    return None


def _argument(node: fx.Node, place: int, name: str, default: object) -> object:
    """Return an argument of a function, by place or by name."""
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)
