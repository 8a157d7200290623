"""Containers of modules: Sequentials, lists and dictionaries, kept in a network that is a graph."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

Containers = Mapping[str, tuple[str, Sequence[str]]]
"""Path of a module with children to its kind and the names of its children, in order; plain data. The kind is
sequential, list, dict, or module for one with a forward pass of its own."""
KINDS: tuple[tuple[str, type[nn.Module]], ...] = (
    ("sequential", nn.Sequential),
    ("list", nn.ModuleList),
    ("dict", nn.ModuleDict),
)


class Sequential(nn.Sequential):
    """A Sequential whose forward pass torch.jit.script leaves out: children may have none."""

    @torch.jit.unused
    def forward(self, input: Tensor) -> Tensor:
        """Call one child after the other."""
        found: Tensor = nn.Sequential.forward(self, input)  # type: ignore[no-untyped-call]
        return found


CLASSES: Mapping[str, type[nn.Module]] = {"sequential": Sequential, "list": nn.ModuleList, "dict": nn.ModuleDict}


def containers(model: nn.Module) -> Containers:
    """Return the modules of a network that hold others, the network itself under ""."""
    return {
        path: (_kind(module), list(module._modules))
        for path, module in model.named_modules()
        if not path or module._modules or _kind(module) != "module"
    }


def _kind(module: nn.Module) -> str:
    for kind, base in KINDS:
        if isinstance(module, base) and getattr(type(module), "forward", None) is getattr(base, "forward", None):
            return kind
    return "sequential" if isinstance(module, Sequential) else "module"


def restore_containers_(network: nn.Module, found: Containers) -> None:
    """Let plain modules of a graph's network be the containers that they were, with their children in order.

    A module with a forward pass of its own stays a plain one without any: called alone it raises. Its operations are
    in the graph, where a sum may have become a union. So does a child of a container that the graph does not use.

    Args:
        network: An fx.GraphModule; the graph is not changed.
        found: Result of ``containers`` for the original network.
    """
    for path, (kind, children) in found.items():
        try:
            module = network.get_submodule(path)
        except AttributeError:  # the graph uses none of it
            continue
        if path and type(module) is not nn.Module:
            continue
        present = dict(module._modules)
        if path and kind != "module":
            present = {name: present.get(name, nn.Module()) for name in children} | present
            module.__class__ = CLASSES[kind]
        order = [name for name in children if name in present]
        module._modules = {name: present[name] for name in [*order, *(each for each in present if each not in order)]}
