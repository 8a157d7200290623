"""Writes the source of a random network line by line, and keeps account of what flows where."""

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from tests.pruning.random_networks.network import IMAGE, Scope

T = TypeVar("T")


@dataclass(frozen=True)
class Value:
    """What a variable holds: so many channels of maps of one size, and the layers that have written them."""

    channels: int
    size: tuple[int, int]
    writers: frozenset[str]


class Builder:
    """The stream, variable ``x`` at first, through the module that is being written.

    fresh: Whether nothing else holds the stream's memory, so that it may be overwritten. alone: The path of the layer
    whose plain result the stream is; empty where it is another. simple: Whether to keep to ReLU, and to BatchNorm
    behind a convolution, which all readers of networks take.
    """

    def __init__(self, integer: Callable[[int, int], int], simple: bool = False) -> None:
        self.integer, self.simple = integer, simple
        self.shape = (integer(1, 3), integer(5, 12), integer(5, 12))
        self.value = Value(self.shape[0], self.shape[1:], frozenset({IMAGE}))
        self.var, self.fresh, self.alone = "x", False, ""
        self.classes: list[str] = []
        self.after: list[str] = []
        self.features: set[str] = set()
        self.calls: dict[str, list[frozenset[str]]] = {}
        self.norms: dict[str, str] = {}
        self.functional: set[str] = set()
        self.prefix, self.both_modes, self.flexible = "", True, True
        self.arguments, self.result, self.more, self.wrapper = "x", "x", "", ""
        self.scope = Scope("")
        self.paths: dict[str, list[str]] = {}
        self._numbers: dict[str, int] = {}
        if self.shape[1] % 2 or self.shape[2] % 2:
            self.note("odd image size")

    def choose(self, options: Sequence[T]) -> T:
        """Return one of the options; the first is the simplest."""
        return options[self.integer(0, len(options) - 1)]

    def chance(self, percent: int) -> bool:
        """Return True in so many of a hundred cases."""
        return self.integer(0, 99) >= 100 - percent

    def note(self, *features: str) -> None:
        """Count features, once for each network."""
        self.features.update(features)

    def name(self, kind: str) -> str:
        """Return a name that is not used yet."""
        self._numbers[kind] = self._numbers.get(kind, 0) + 1
        return f"{kind}{self._numbers[kind]}"

    def module(self, kind: str, expression: str) -> str:
        """Add a module to the one that is being written; return its name."""
        name = self.name(kind)
        self.scope.layers.append(f"self.{name} = {expression}")
        self.paths.setdefault(kind, []).append(self.path(name))
        return name

    def path(self, name: str) -> str:
        """Return the path of a module of the one that is being written."""
        return self.scope.prefix + name

    def line(self, text: str) -> None:
        """Add lines to the forward pass; ``$`` stands for the stream's variable."""
        self.scope.body += text.replace("$", self.var).split("\n")

    def maps(self, channels: int, size: tuple[int, int], writers: frozenset[str], alone: str = "") -> None:
        """Note what the stream is now: new memory."""
        self.value, self.fresh, self.alone = Value(channels, size, writers), True, alone

    def same(self) -> None:
        """Note that the stream is new memory with the same channels."""
        self.maps(self.value.channels, self.value.size, self.value.writers)

    def read_by(self, path: str) -> None:
        """Note that a norm or depthwise convolution reads the stream."""
        self.calls.setdefault(path, []).append(self.value.writers)

    def save(self) -> tuple[str, Value]:
        """Keep the stream for later, under another name for the same memory."""
        name = self.name("skip")
        self.line(f"{name} = $")
        self.fresh, self.alone = False, ""
        return name, self.value

    @contextmanager
    def submodule(self, kind: str):
        """Write what follows into a module with a forward pass of its own."""
        name, outer, var = self.name(kind), self.scope, self.var
        self.scope, self.var = Scope(f"{outer.prefix}{name}."), "x"
        yield name
        inner, self.scope, self.var = self.scope, outer, var
        title = name.capitalize()
        self.classes.append(inner.source(title))
        outer.layers.append(f"self.{name} = {title}()")
        outer.body.append(f"{self.var} = self.{name}({self.var})")
        self.alone = ""
