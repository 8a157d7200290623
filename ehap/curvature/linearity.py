"""Check that the logits are, almost everywhere, linear in the weights of each layer, as exact traces need."""

import operator

import torch
from torch import fx, nn
from torch.nn import functional

from ehap.errors import ArchitectureError
from ehap.graph.tracing import check_readable, traced

LINEAR_MODULES = (
    nn.Conv2d,
    nn.Linear,
    nn.BatchNorm1d,  # in eval mode, in which curvature is always taken
    nn.BatchNorm2d,
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
    operator.isub,
    operator.getitem,
    operator.neg,
    torch.add,
    torch.cat,
    torch.flatten,
    torch.mean,
    torch.relu,
    torch.relu_,
    torch.reshape,
    torch.squeeze,
    torch.sub,
    torch.sum,
    torch.transpose,
    torch.unsqueeze,
    functional.relu,
    functional.relu6,
    functional.leaky_relu,
    functional.hardtanh,
    functional.pad,
    functional.interpolate,
    functional.max_pool2d,
    functional.avg_pool2d,
    functional.adaptive_avg_pool2d,
    functional.adaptive_max_pool2d,
    getattr,
)
LINEAR_METHODS = (
    "index_add",
    "index_copy",
    "new_zeros",
    "add",
    "add_",
    "relu",
    "relu_",
    "view",
    "reshape",
    "flatten",
    "mean",
    "size",
    "contiguous",
    "permute",
    "amax",
    "chunk",
    "clamp",
    "split",
    "squeeze",
    "sum",
    "transpose",
    "unsqueeze",
)
PRODUCTS = (operator.mul, operator.imul, operator.truediv, operator.itruediv, torch.mul, torch.div)
PRODUCT_METHODS = ("mul", "mul_", "div", "div_")
DIVISIONS = (operator.truediv, operator.itruediv, torch.div, "div", "div_")
ARITHMETIC = (operator.add, operator.sub, operator.mul, operator.floordiv, operator.truediv)
ADVICE = (
    'say approximate: gauss-newton (from Python approximate="gauss-newton") to accept the Gauss–Newton traces, or take '
    "estimator hutchinson, which has the trace alone"
)


def check_linear(model: nn.Module) -> fx.GraphModule:
    """Raise unless every layer's block of the Hessian equals its Gauss–Newton block in eval mode.

    That holds where the path behind a layer's weights is made of linear and piecewise-linear operations and each
    weight is used once.

    Returns:
        The forward pass that was checked.

    Raises:
        ArchitectureError: Names the first module or operation for which this cannot be said.
    """
    check_readable(model)
    try:
        found = traced(model)
    except ArchitectureError as error:
        raise ArchitectureError(
            "expected a network that torch.fx can trace, to see whether exact traces are the Hessian's: "
            f"{str(error).rstrip('.')}; {ADVICE}."
        ) from None
    graph = found.graph
    modules = dict(model.named_modules())
    used: dict[int, str] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            _check_module(str(node.target), modules[str(node.target)], used)
        elif node.op == "get_attr" and _is_channel_weight(str(node.target), modules):
            raise ArchitectureError(f"{node.target}: is used outside its layer; {ADVICE}.")
        elif node.op in ("call_function", "call_method") and not _linear(node):
            raise ArchitectureError(f"{_place(node)}: {_why(node)}; {ADVICE}.")
    return found


def _check_module(name: str, module: nn.Module, used: dict[int, str]) -> None:
    if not isinstance(module, LINEAR_MODULES):
        kind = type(module).__name__
        raise ArchitectureError(f"{name}: {kind} is not piecewise linear, as far as is known; {ADVICE}.")
    for parameter in module.parameters() if isinstance(module, (nn.Conv2d, nn.Linear)) else ():
        if id(parameter) in used:
            raise ArchitectureError(f"{name}: its weight is used twice (in {used[id(parameter)]}, too); {ADVICE}.")
        used[id(parameter)] = name


def _is_channel_weight(target: str, modules: dict[str, nn.Module]) -> bool:
    layer, _, name = target.rpartition(".")
    return name == "weight" and isinstance(modules.get(layer), (nn.Conv2d, nn.Linear))


def _linear(node: fx.Node) -> bool:
    if node.all_input_nodes and all(map(_is_number, node.all_input_nodes)):
        return True  # arithmetic of sizes
    if node.target in PRODUCTS or node.target in PRODUCT_METHODS:
        activations = [source for source in node.all_input_nodes if not _is_number(source)]
        divided = node.target in DIVISIONS and bool(activations) and activations[-1] is not node.args[0]
        return len(activations) == 1 and not divided and not _squares(node)
    if node.target is functional.dropout:
        return node.kwargs.get("training", True) is False
    return node.target in (LINEAR_METHODS if node.op == "call_method" else LINEAR_FUNCTIONS)


def _squares(node: fx.Node) -> bool:
    """Return whether a product takes the same activation twice."""
    sources = [*node.args, *node.kwargs.values()]
    return sum(isinstance(source, fx.Node) and not _is_number(source) for source in sources) > 1


def _is_number(node: fx.Node) -> bool:
    """Return whether a node is a size or an attribute of the network rather than an activation."""
    if node.op == "get_attr" or node.target == "size":
        return True
    if node.target is getattr:
        return bool(node.args[1] == "shape")
    if node.target in ARITHMETIC and node.all_input_nodes:
        return all(map(_is_number, node.all_input_nodes))
    return node.target is operator.getitem and isinstance(node.args[0], fx.Node) and _is_number(node.args[0])


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
