"""Whether the logits are, almost everywhere, linear in the weights of any one layer: what exact traces rest on."""

import operator

import torch
from torch import fx, nn
from torch.nn import functional

from ehap.errors import ArchitectureError

LINEAR_MODULES = (
    nn.Conv2d,
    nn.Linear,
    nn.BatchNorm2d,  # in eval mode, in which curvature is always taken
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.Hardtanh,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.ZeroPad2d,
    nn.Upsample,
    nn.Flatten,
    nn.Identity,
    nn.Dropout,
    nn.Dropout2d,
)
LINEAR_FUNCTIONS = (
    operator.add,
    operator.iadd,
    operator.sub,
    operator.getitem,
    operator.neg,
    torch.add,
    torch.cat,
    torch.flatten,
    torch.mean,
    torch.relu,
    functional.relu,
    functional.relu6,
    functional.leaky_relu,
    functional.hardtanh,
    functional.pad,
    functional.interpolate,
    functional.dropout,
    functional.max_pool2d,
    functional.avg_pool2d,
    functional.adaptive_avg_pool2d,
    functional.adaptive_max_pool2d,
    getattr,
)
LINEAR_METHODS = ("add", "add_", "relu", "relu_", "view", "reshape", "flatten", "mean", "size", "contiguous", "permute")
PRODUCTS = (operator.mul, operator.imul, operator.truediv, torch.mul, torch.div)
PRODUCT_METHODS = ("mul", "mul_", "div", "div_")
ADVICE = "say approximate: gauss-newton to accept the Gauss–Newton traces, or take estimator hutchinson"


def check_linear(model: nn.Module) -> None:
    """Raise unless every layer's block of the Hessian equals its Gauss–Newton block in eval mode.

    That holds where the path behind a layer's weights is made of linear and piecewise-linear operations and each
    weight is used once.

    Raises:
        ArchitectureError: Names the first module or operation for which this cannot be said.
    """
    try:
        graph = fx.symbolic_trace(model).graph
    except Exception as error:  # torch.fx raises whatever the code of a network that it cannot trace raises
        raise ArchitectureError(
            f"expected a network that torch.fx can trace, to see whether exact traces are the Hessian's ({error}); "
            f"{ADVICE}."
        ) from None
    modules = dict(model.named_modules())
    used: dict[int, str] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            _check_module(str(node.target), modules[str(node.target)], used)
        elif node.op in ("call_function", "call_method") and not _linear(node):
            raise ArchitectureError(f"{_place(node)}: {_why(node)}; {ADVICE}.")


def _check_module(name: str, module: nn.Module, used: dict[int, str]) -> None:
    if not isinstance(module, LINEAR_MODULES):
        kind = type(module).__name__
        raise ArchitectureError(f"{name}: {kind} is not piecewise linear, as far as is known; {ADVICE}.")
    for parameter in module.parameters():
        if id(parameter) in used:
            raise ArchitectureError(f"{name}: its weight is used twice (in {used[id(parameter)]}, too); {ADVICE}.")
        used[id(parameter)] = name


def _linear(node: fx.Node) -> bool:
    if node.target in PRODUCTS or node.target in PRODUCT_METHODS:
        activations = [argument for argument in node.args if isinstance(argument, fx.Node)]
        denominator = node.target in (operator.truediv, torch.div, "div", "div_") and len(node.args) > 1
        return len(activations) < 2 and not (denominator and isinstance(node.args[1], fx.Node))  # noqa: PLR2004
    return node.target in (LINEAR_METHODS if node.op == "call_method" else LINEAR_FUNCTIONS)


def _why(node: fx.Node) -> str:
    if node.target in PRODUCTS or node.target in PRODUCT_METHODS:
        return "a product of two activations is not linear in one layer's weights"
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    return f"{name} is not piecewise linear, as far as is known"


def _place(node: fx.Node) -> str:
    """Return the module whose code does the operation, as far as the tracer knows it."""
    stack = node.meta.get("nn_module_stack") or {}
    names = [name for name, _ in stack.values()] if stack else []
    return str(names[-1]) if names else node.name
