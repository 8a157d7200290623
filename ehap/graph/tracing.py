"""The forward pass of a network as an fx graph with the same outputs."""

import copy
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn
from torch.nn.modules.lazy import LazyModuleMixin

from ehap.errors import ArchitectureError

OVERWRITING = {
    f"__{name}__": getattr(operator, f"__{name}__")
    for name in (
        *("iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "imatmul"),
        *("iand", "ior", "ixor", "ilshift", "irshift"),
    )
}
"""Operators such as ``x += y``, by the name of their method: they write over x."""
WRAPPERS = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "FullyShardedDataParallel": "_fsdp_wrapped_module",
    "AveragedModel": "module",
    "OptimizedModule": "_orig_mod",
}
"""Classes of torch that hold a network, by name, and the attribute that holds it."""
PLAIN = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
"""Layers whose subclasses count as the layer unless they have a forward pass of their own."""
TABLES = ("_parameters", "_buffers", "_modules")
FOREIGN = ("torch.ao.nn.", "torch.nn.intrinsic.", "torch.nn.qat.", "torch.nn.quantized.", "torch.nn.quantizable.")
"""Where torch keeps layers that quantize: subclasses of plain ones that compute something else."""


class _Proxy(fx.Proxy):
    """Stands for a tensor in a forward pass, and has the attributes of one."""

    def __getattr__(self, name: str) -> fx.proxy.Attribute:
        if not hasattr(torch.Tensor, name) and not hasattr(torch.Size, name):
            raise AttributeError(f"a tensor has no attribute {name!r}")
        return super().__getattr__(name)


def _overwriting(name: str, function: Callable[..., Any]) -> Callable[[fx.Proxy, object], fx.Proxy]:
    def method(self: fx.Proxy, other: object) -> fx.Proxy:
        found: fx.Proxy = self.tracer.create_proxy("call_function", function, (self, other), {})
        return found

    method.__name__ = name
    return method


for _name, _function in OVERWRITING.items():
    setattr(_Proxy, _name, _overwriting(_name, _function))


class Tracer(fx.Tracer):
    """Sees ``x += y`` and the like, which overwrite x, as such: torch's own takes it for x + y.

    In a trace, torch.is_tensor returns True for a proxy. An isinstance check cannot: torch's own code uses it, too, and
    would take a proxy for a tensor.
    """

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether a module is one operation: one of torch.nn, or of a subclass that computes the same."""
        return computes_as_its_base(m) or super().is_leaf_module(m, module_qualified_name)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """Return the proxy of a node's result in the forward pass."""
        return _Proxy(node, self)

    def trace(self, root: Any, concrete_args: dict[str, Any] | None = None) -> fx.Graph:
        """Return the forward pass of a network as a graph."""
        plain = torch.is_tensor
        torch.is_tensor = lambda obj: isinstance(obj, fx.Proxy) or plain(obj)  # type: ignore[assignment]
        try:
            return super().trace(root, concrete_args)
        finally:
            torch.is_tensor = plain


def computes_as_its_base(module: nn.Module) -> bool:
    """Return whether a module is a plain layer, or of a subclass without a forward pass of its own."""
    base = next((each for each in PLAIN if isinstance(module, each)), None)
    methods = ("forward", "_conv_forward", "__call__")
    return base is not None and all(getattr(type(module), name, 0) is getattr(base, name, 0) for name in methods)


def traced(model: nn.Module, tracer: fx.Tracer | None = None) -> fx.GraphModule:
    """Return the model's forward pass over the model's own modules, in eval or train mode as they are.

    Args:
        model: Without branches on values.
        tracer: Which modules are one operation; where left out, those of torch.nn.

    Raises:
        ArchitectureError: The forward pass cannot be read off; the message names the module or the reason.
    """
    check_readable(model)
    try:
        with unchanged(model):  # torch.fx stores constants in it, and the forward pass would store proxies
            found = fx.GraphModule(model, (tracer or Tracer()).trace(model), type(model).__name__)
    except Exception as error:  # torch.fx raises whatever the code of a network that it cannot trace raises
        raise ArchitectureError(
            f"the forward pass of {type(model).__name__} cannot be traced ({type(error).__name__}: "
            f"{_first_line(error)}); expected one without branches on values, whose modules are attributes of the "
            "network and not made in the forward pass."
        ) from error
    return found


def copied(model: nn.Module) -> nn.Module:
    """Return a deep copy.

    Raises:
        ArchitectureError: The network holds something that cannot be copied.
    """
    try:
        return copy.deepcopy(model)
    except Exception as error:  # whatever the things that it holds raise
        raise ArchitectureError(
            f"{type(model).__name__} cannot be copied ({type(error).__name__}: {_first_line(error)}); let it keep no "
            "results, locks or generators in its attributes."
        ) from error


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Give every module of a network its attributes, modes and buffers back after the block, whatever its code did."""
    modules = list(model.modules())
    attributes = [dict(vars(module)) for module in modules]
    tables = [{name: dict(vars(module)[name]) for name in TABLES} for module in modules]
    values = [
        {name: buffer.clone() for name, buffer in module._buffers.items() if buffer is not None and not buffer.is_meta}
        for module in modules
    ]
    try:
        yield
    finally:
        for module, before, table, buffers in zip(modules, attributes, tables, values, strict=True):
            for name in set(vars(module)) - set(before):
                del vars(module)[name]
            vars(module).update(before)
            for name, entries in table.items():
                vars(module)[name].clear()
                vars(module)[name].update(entries)
            with torch.no_grad():
                for name, value in buffers.items():
                    if not torch.equal(module._buffers[name], value):  # type: ignore[arg-type]  # it was one before
                        module._buffers[name].copy_(value)  # type: ignore[union-attr]


_REPLACED = (
    "its forward pass was replaced on the instance and cannot be read; expected the forward pass of its class: delete "
    "the attribute forward, or write a class of its own."
)


def check_readable(model: nn.Module) -> None:
    """Raise ArchitectureError for networks whose computation cannot be read from their modules.

    These are wrapped, scripted and compiled networks, layers that quantize, and lazy layers without weights. Modules
    with a forward pass replaced on the instance belong to them, too: a copy of the network may share it.
    """
    if torch.is_inference_mode_enabled():
        raise ArchitectureError(
            "called inside torch.inference_mode, whose tensors can never be trained; use torch.no_grad instead."
        )
    for name, module in model.named_modules():
        where, kind = name or "the network", type(module).__name__
        held = next((WRAPPERS[each.__name__] for each in type(module).__mro__ if each.__name__ in WRAPPERS), None)
        if held is not None and held in module._modules:
            raise ArchitectureError(f"{where}: is wrapped in {kind}; give its attribute .{held}, the network itself.")
        if isinstance(module, torch.jit.ScriptModule):
            raise ArchitectureError(
                f"{where}: is a scripted or traced module of torch.jit, whose code cannot be read; give the nn.Module "
                "that it was made of."
            )
        if getattr(module, "_compiled_call_impl", None) is not None:
            raise ArchitectureError(
                f"{where}: was compiled in place by compile(); give copy.deepcopy(model), which is not compiled."
            )
        if type(module).__module__.startswith(FOREIGN):
            raise ArchitectureError(
                f"{where}: is a {type(module).__module__}.{kind}, a layer that quantizes; give the network in floating "
                "point, before it was prepared for quantization."
            )
        if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params():  # type: ignore[misc]
            raise ArchitectureError(f"{where}: has no weights yet; call the network once with images first.")
        if "forward" in vars(module):
            raise ArchitectureError(f"{where}: {_REPLACED}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:160]
