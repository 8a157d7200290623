"""The operations that a file may name: a closed table of modules with their arguments, and of functions."""

import math
import operator
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ehap.errors import ArchitectureError
from ehap.graph.tracing import PLAIN, computes_as_its_base
from ehap.graph.union import UnionAdd

POOLING = ("kernel_size", "stride", "padding")
MODULES: Mapping[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    "Conv2d": (
        nn.Conv2d,
        ("in_channels", "out_channels", *POOLING, "dilation", "groups", "bias", "padding_mode"),
    ),
    "Linear": (nn.Linear, ("in_features", "out_features", "bias")),
    "BatchNorm2d": (nn.BatchNorm2d, ("num_features", "eps", "momentum", "affine", "track_running_stats")),
    "ReLU": (nn.ReLU, ("inplace",)),
    "ReLU6": (nn.ReLU6, ("inplace",)),
    "Hardtanh": (nn.Hardtanh, ("min_val", "max_val", "inplace")),
    "LeakyReLU": (nn.LeakyReLU, ("negative_slope", "inplace")),
    "ELU": (nn.ELU, ("alpha", "inplace")),
    "GELU": (nn.GELU, ("approximate",)),
    "SiLU": (nn.SiLU, ("inplace",)),
    "Hardswish": (nn.Hardswish, ("inplace",)),
    "Tanh": (nn.Tanh, ()),
    "Identity": (nn.Identity, ()),
    "Dropout": (nn.Dropout, ("p", "inplace")),
    "Dropout2d": (nn.Dropout2d, ("p", "inplace")),
    "MaxPool2d": (nn.MaxPool2d, (*POOLING, "dilation", "return_indices", "ceil_mode")),
    "AvgPool2d": (nn.AvgPool2d, (*POOLING, "ceil_mode", "count_include_pad", "divisor_override")),
    "AdaptiveAvgPool2d": (nn.AdaptiveAvgPool2d, ("output_size",)),
    "Flatten": (nn.Flatten, ("start_dim", "end_dim")),
    "UnionAdd": (UnionAdd, ("left", "right", "width")),
}
"""Name in a file to class and arguments of its constructor, which are attributes of the same names."""
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "operator.add": operator.add,
    "operator.iadd": operator.iadd,
    "torch.add": torch.add,
    "torch.flatten": torch.flatten,
    "torch.mean": torch.mean,
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "torch.tanh": torch.tanh,
    "functional.relu": functional.relu,
    "functional.relu6": functional.relu6,
    "functional.leaky_relu": functional.leaky_relu,
    "functional.elu": functional.elu,
    "functional.gelu": functional.gelu,
    "functional.silu": functional.silu,
    "functional.hardswish": functional.hardswish,
    "functional.max_pool2d": functional.max_pool2d,
    "functional.avg_pool2d": functional.avg_pool2d,
    "functional.adaptive_avg_pool2d": functional.adaptive_avg_pool2d,
}
"""Name in a file to function."""
KNOWN = "cannot be saved; expected convolutions, linear layers, BatchNorm2d, and what pruning knows beside them."


def name_of_function(function: object, where: str) -> str:
    """Return the name of a function in a file.

    Raises:
        ArchitectureError: A file cannot name it.
    """
    found = next((name for name, each in FUNCTIONS.items() if each is function), None)
    if found is None:
        raise ArchitectureError(f"{where}: {getattr(function, '__name__', function)} {KNOWN}")
    return found


def module_as_data(module: nn.Module, path: str) -> dict[str, Any]:
    """Return a module as its name in a file and the arguments of its constructor, each with its present value.

    Args:
        module: A module of the table, or a subclass of a plain layer that computes as the layer.
        path: Its path, for messages.

    Raises:
        ArchitectureError: It is another module, or is not as its class makes one with these arguments.
    """
    name = next((name for name, (kind, _) in MODULES.items() if type(module) is kind), None)
    if name is None and computes_as_its_base(module):
        name = next(kind.__name__ for kind in PLAIN if isinstance(module, kind))
    if name is None:
        raise ArchitectureError(f"{path}: {type(module).__name__} {KNOWN}")
    arguments = {each: as_data(_argument(module, each), path) for each in MODULES[name][1]}
    found: dict[str, Any] = {"path": path, "class": name, "arguments": arguments}
    _check_same(module, module_of(name, {each: from_data(value) for each, value in arguments.items()}), path)
    return found


def module_of(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Return a new module of the table whose parameters and statistics have no values, on the meta device.

    Whatever the constructor raises for arguments that it does not take is raised.

    Args:
        name: A key of MODULES.
        arguments: All arguments of its constructor, by name.
    """
    kind, names = MODULES[name]
    if set(arguments) != set(names):
        raise ValueError(f"expected the arguments {', '.join(names) or '(none)'}, got {', '.join(arguments)}")
    if kind is UnionAdd:
        return _union(arguments["left"], arguments["right"], arguments["width"])
    if kind is nn.Conv2d:
        _check_pairs(arguments)
    with torch.device("meta"):
        return kind(**arguments)


def as_data(value: object, where: str) -> Any:
    """Return an argument as plain data for JSON: a tuple becomes ``{"tuple": [...]}``.

    Raises:
        ArchitectureError: It is something else than numbers, texts, None, lists and tuples, or is not finite.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real) and math.isfinite(value):
        return float(value)
    if isinstance(value, tuple):
        return {"tuple": [as_data(each, where) for each in value]}
    if isinstance(value, list):
        return [as_data(each, where) for each in value]
    raise ArchitectureError(
        f"{where}: the argument {value!r:.80} cannot be saved; expected finite numbers, texts, None, lists and tuples."
    )


def from_data(data: Any) -> Any:
    """Return the argument that ``as_data`` was given.

    Raises:
        ValueError: The data is not from there.
    """
    if data is None or isinstance(data, (bool, str, int)):
        return data
    if isinstance(data, float) and math.isfinite(data):
        return data
    if isinstance(data, list):
        return [from_data(each) for each in data]
    if isinstance(data, dict) and set(data) == {"tuple"} and isinstance(data["tuple"], list):
        return tuple(from_data(each) for each in data["tuple"])
    raise ValueError(f"expected an argument, got {data!r:.80}")


def _argument(module: nn.Module, name: str) -> object:
    """Return the present value of an argument of a module's constructor."""
    value = getattr(module, name)
    if name == "bias":
        return value is not None
    return value.tolist() if isinstance(module, UnionAdd) and isinstance(value, Tensor) else value


def _union(left: Any, right: Any, width: Any) -> UnionAdd:
    """Return the union of these positions.

    Raises:
        ValueError: They are not sorted positions in the union, or leave some of it out.
    """
    for side in (left, right):
        plain = isinstance(side, list) and all(type(place) is int for place in side)
        if not plain or not side or side != sorted(set(side)):
            raise ValueError(f"expected sorted positions in the union, got {side!r:.80}")
    covered = sorted(set(left) | set(right))
    if width != len(covered) or covered[0] != 0 or covered[-1] != width - 1:
        raise ValueError(f"expected inputs that cover a union of {width!r:.20} channels together")
    return UnionAdd(left, right, width)


def _check_pairs(arguments: Mapping[str, Any]) -> None:
    """Raise ValueError for steps of a convolution that torch refuses only when it computes values."""
    for name, least in (("kernel_size", 1), ("stride", 1), ("dilation", 1), ("padding", 0)):
        value = arguments[name]
        pair = isinstance(value, tuple) and [type(each) for each in value] == [int, int] and min(value) >= least
        if not pair and not (name == "padding" and isinstance(value, str)):
            raise ValueError(f"expected {name} as two numbers of at least {least}, got {value!r:.80}")


def _check_same(module: nn.Module, other: nn.Module, path: str) -> None:
    """Raise unless a module has the parameters, statistics and attributes that its class gives a new one."""
    shapes, wanted = ({key: tuple(each.shape) for key, each in one.state_dict().items()} for one in (module, other))
    if shapes != wanted or set(dict(module.named_parameters())) != set(dict(other.named_parameters())):
        raise ArchitectureError(
            f"{path}: expected parameters and statistics {wanted}, as {type(other).__name__} makes them, got {shapes}; "
            "undo reparametrizations, and give it the sizes of its weights."
        )
    for name in (*MODULES[type(other).__name__][1], *_DERIVED):
        mine, its = (getattr(one, name, None) for one in (module, other))
        same = isinstance(mine, (Tensor, type(None))) if name in ("bias", "left", "right") else mine == its
        if not same:
            raise ArchitectureError(f"{path}: {name} is {mine}, but its class would make {its} of its arguments.")


_DERIVED = ("_reversed_padding_repeated_twice", "whole", "transposed", "output_padding")
"""Attributes that constructors compute from their arguments."""
