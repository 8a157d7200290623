"""A pruned network: a graph that keeps what the class of the original had, as far as that is possible."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import fx, nn

from ehap.graph.containers import Containers, Sequential, containers, restore_containers_
from ehap.graph.tracing import copied

_Skeleton = tuple[nn.Module, ...]
"""The original without weights, in a tuple, so that it is no part of the network; or nothing."""
_NO_CONTAINERS: Containers = {}
_NO_SKELETON: _Skeleton = ()
_NO_PLAN: Mapping[str, list[int]] = {}


class PrunedNetwork(fx.GraphModule):
    """An fx.GraphModule with the Sequentials, lists and dictionaries of the original, and with its ``train``.

    Other methods and attributes of the original's classes are lost. A block with a forward pass of its own raises when
    it is called alone. See ``of`` and ``like``.

    kept: Layer name to the channels that the last pruning has kept; empty where nobody said.
    """

    _containers = _NO_CONTAINERS  # torch.jit.script would read an annotation here
    _skeleton = _NO_SKELETON
    kept = _NO_PLAN

    @staticmethod
    def of(graph_module: fx.GraphModule, found: Containers, skeleton: _Skeleton = ()) -> "PrunedNetwork":
        """Return a network with the modules and the graph of ``graph_module``, in its modes.

        Args:
            graph_module: The graph, with its modules.
            found: The containers of the original.
            skeleton: The original without weights, where its ``train`` is one of its own.
        """
        kind = PrunedSequential if found.get("", ("", ()))[0] == "sequential" else PrunedNetwork
        network = kind(graph_module, graph_module.graph, type(graph_module).__name__)
        network.training = graph_module.training
        network._containers, network._skeleton = found, skeleton
        restore_containers_(network, found)
        return network

    @staticmethod
    def like(graph_module: fx.GraphModule, model: nn.Module) -> "PrunedNetwork":
        """Return the same with the containers and the ``train`` of ``model``."""
        if isinstance(model, PrunedNetwork):
            return PrunedNetwork.of(graph_module, model._containers, model._skeleton)
        own = any(type(module).train is not nn.Module.train for module in model.modules())
        return PrunedNetwork.of(graph_module, containers_of(model), (copied(model).to("meta"),) if own else ())

    def train(self, mode: bool = True) -> "PrunedNetwork":
        """Set the modes that the original's own ``train`` would set now, and what it changes of requires_grad."""
        if not self._skeleton:
            super().train(mode)
        for original in self._skeleton:
            before = _modes(self)
            _take_flags_(original, self)
            _set_modes_(original, before)
            super().train(mode)  # what the original does not have, as unions
            original.train(mode)
            _set_modes_(self, _modes(original))
            _take_flags_(self, original)
        return self

    def __copy__(self) -> "PrunedNetwork":
        network = PrunedNetwork.of(fx.GraphModule.__copy__(self), self._containers, self._skeleton)
        network.kept = self.kept
        _set_modes_(network, _modes(self))
        return network

    def __deepcopy__(self, memo: Any) -> "PrunedNetwork":
        plain = fx.GraphModule.__deepcopy__(self, memo)
        network = PrunedNetwork.of(plain, self._containers, tuple(copied(each) for each in self._skeleton))
        network.kept = self.kept
        _set_modes_(network, _modes(self))
        memo[id(self)] = network
        return network

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        function, arguments = fx.GraphModule.__reduce__(self)
        return _rebuilt, (function, arguments, dict(self._containers), self._skeleton, _modes(self), dict(self.kept))


class PrunedSequential(PrunedNetwork):
    """A pruned Sequential: it has a length, an order and places, as the original."""

    def __len__(self) -> int:
        return len(self._children())

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(self._children())

    def __getitem__(self, place: int | slice) -> nn.Module:
        return Sequential(*self._children()[place]) if isinstance(place, slice) else self._children()[place]

    def _children(self) -> list[nn.Module]:
        """Return the children of the original; one that the graph does not use raises when it is called."""
        return [self._modules.get(name) or nn.Module() for name in self._containers[""][1]]


def containers_of(network: nn.Module) -> Containers:
    """Return the containers of a network; of a pruned one, those of its original."""
    return network._containers if isinstance(network, PrunedNetwork) else containers(network)


def _rebuilt(
    function: Callable[..., fx.GraphModule],
    arguments: tuple[Any, ...],
    found: Containers,
    skeleton: _Skeleton,
    modes: Mapping[str, bool],
    kept: Mapping[str, list[int]],
) -> PrunedNetwork:
    network = PrunedNetwork.of(function(*arguments), found, skeleton)
    network.kept = kept
    _set_modes_(network, modes)
    return network


def _modes(network: nn.Module) -> dict[str, bool]:
    return {name: module.training for name, module in network.named_modules()}


def _set_modes_(network: nn.Module, modes: Mapping[str, bool]) -> None:
    for name, module in network.named_modules():
        module.training = modes.get(name, module.training)


def _take_flags_(network: nn.Module, other: nn.Module) -> None:
    """Give each parameter the requires_grad of the one of the same name in another network."""
    flags = {name: each.requires_grad for name, each in other.named_parameters()}
    for name, each in network.named_parameters():
        each.requires_grad_(flags.get(name, each.requires_grad))
