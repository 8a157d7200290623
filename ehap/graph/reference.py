"""A forward pass that was read off a network, executed by operations of our own on the parameters of its modules.

Modules are never called: a network whose module was patched, hooked or subclassed would be compared with itself.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, fx, nn
from torch.nn import functional

from ehap.errors import ArchitectureError

Seen = Callable[[str, Tensor, Tensor], None]
"""Called with the path of a module, its input and its output, where both are tensors."""


class Reference(fx.Interpreter):
    """Executes a graph over a network's modules, in eval mode.

    Args:
        graph_module: Result of ``ehap.graph.tracing.traced``.
        seen: Called with input and output of each module.
    """

    def __init__(self, graph_module: fx.GraphModule, seen: Seen | None = None) -> None:
        super().__init__(graph_module)
        self._seen = seen

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the output of a module's operation."""
        path = str(target)
        module = self.module.get_submodule(path)
        operation = _operation(path, module)
        first = next(iter((*args, *kwargs.values())), None)
        read = first.clone() if self._seen is not None and isinstance(first, Tensor) else None
        found = operation(*args, **kwargs)
        if self._seen is not None and read is not None and isinstance(found, Tensor):
            self._seen(path, read, found)
        return found


def _conv(module: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> Callable[[Tensor], Tensor]:
    convolve: Callable[..., Tensor] = getattr(functional, f"conv{len(module.kernel_size)}d")

    def call(input: Tensor) -> Tensor:
        padding: Any = module.padding
        if module.padding_mode != "zeros":
            input = functional.pad(input, module._reversed_padding_repeated_twice, mode=module.padding_mode)
            padding = 0
        return convolve(input, module.weight, module.bias, module.stride, padding, module.dilation, module.groups)

    return call


def _norm(module: nn.modules.batchnorm._BatchNorm) -> Callable[[Tensor], Tensor]:
    def call(input: Tensor) -> Tensor:
        own = module.running_mean is None  # then it takes the statistics of the batch
        statistics = module.running_mean, module.running_var
        return functional.batch_norm(input, *statistics, module.weight, module.bias, training=own, eps=module.eps)

    return call


OPERATIONS: Mapping[type[nn.Module], Callable[[Any], Callable[..., Tensor]]] = {
    nn.Conv1d: _conv,
    nn.Conv2d: _conv,
    nn.Conv3d: _conv,
    nn.Linear: lambda module: lambda input: functional.linear(input, module.weight, module.bias),
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    nn.BatchNorm3d: _norm,
    nn.Identity: lambda module: lambda input: input,
    nn.Dropout: lambda module: lambda input: input,
    nn.Dropout2d: lambda module: lambda input: input,
    nn.ReLU: lambda module: lambda input: functional.relu(input, module.inplace),
}
"""Modules of torch to their operations, in eval mode, on their parameters."""


def _operation(path: str, module: nn.Module) -> Callable[..., Any]:
    kind = type(module)
    if kind in OPERATIONS:
        return OPERATIONS[kind](module)
    stock = next((each for each in kind.__mro__ if each.__module__.startswith("torch.nn.")), None)
    if stock is None or stock is nn.Module:  # one of ours, such as a union
        stock = kind
    forward = stock.__dict__.get("forward") or getattr(stock, "forward", None)
    if forward is None:
        raise ArchitectureError(f"{path}: {kind.__name__} has no forward pass that could be checked.")
    return lambda *args, **kwargs: forward(module, *args, **kwargs)  # that of torch, whatever the instance has
