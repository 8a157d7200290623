"""A pruned network with plain sums: a writer of a residual stream has rows, zero where needed, for all its channels."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Generic, TypeVar

from ehap.errors import ArchitectureError
from ehap.graph.channels import SUMS, ChannelGraph, Kept, Step

Item = TypeVar("Item")
Source = tuple[int, int]
"""A channel where it comes into being: the place of its step among the steps, and its place in that step's result."""


@dataclass(frozen=True)
class Layout:
    """Where channels lie in the wider network.

    rows: Name of a step to the places of its channels, in the order of the channels that it carries.
    widths: Name of a step to the width of its result in the wider network.
    """

    rows: Mapping[str, tuple[int, ...]]
    widths: Mapping[str, int]


def layout(graph: ChannelGraph, kept: Kept, round_to: int = 1) -> Layout:
    """Return where the channels of each step lie once every writer of a stream has rows for all channels of the stream.

    Widths are raised to multiples of ``round_to``. Streams keep their width that hold the network's input or an output,
    or that a convolution in groups writes or reads.

    Args:
        graph: A network's channel graph; it may be dense or pruned.
        kept: The channels of this network that stay; all of them for a network as it is.
        round_to: A whole number of at least 1.

    Raises:
        ArchitectureError: A stream that must keep its width lacks channels of its own.
    """
    streams = _Streams(graph, kept)
    order = {root: streams.order(root) for root in streams.roots()}
    widths = {
        root: len(channels) if root in streams.fixed else -(-len(channels) // round_to) * round_to
        for root, channels in order.items()
    }
    places = {root: {channel: place for place, channel in enumerate(channels)} for root, channels in order.items()}
    rows, wide = {}, {}
    for step in graph.steps:
        if step.kind == "output":
            continue
        root = streams.root_of(step)
        rows[step.name] = tuple(places[root][streams.same.find(channel)] for channel in streams.carried[step.name])
        wide[step.name] = widths[root]
    return Layout(rows, wide)


class _Sets(Generic[Item]):
    """Disjoint sets that are united pair by pair."""

    def __init__(self) -> None:
        self._above: dict[Item, Item] = {}

    def find(self, item: Item) -> Item:
        """Return the item that stands for the set of this one."""
        path = []
        while self._above.get(item, item) != item:
            path.append(item)
            item = self._above[item]
        for each in path:
            self._above[each] = item
        return item

    def unite(self, first: Item, second: Item) -> None:
        """Make one set of two; the first one's item stands for both."""
        first, second = self.find(first), self.find(second)
        if first != second:
            self._above[second] = first


class _Streams:
    """The streams of a network: steps whose results are added, and the channels that are the same in them.

    carried: Name of a step to the channels that its result carries. same: Unites channels that are added.
    fixed: The streams that keep their width, each by the step that stands for it, to the channels in their order.
    """

    def __init__(self, graph: ChannelGraph, kept: Kept) -> None:
        self.same, self._together = _Sets[Source](), _Sets[str]()
        self.carried: dict[str, list[Source]] = {}
        self._steps = graph.steps
        places = graph.carried(kept)
        for number, step in enumerate(graph.steps):
            if step.kind in ("input", "conv", "linear"):
                self.carried[step.name] = [(number, place) for place in range(len(places[step.name]))]
            elif step.kind in SUMS:
                self.carried[step.name] = self._summed(step, places)
            elif step.kind != "output":
                self.carried[step.name] = self.carried[step.sources[0]]
                self._together.unite(step.sources[0], step.name)
        self.fixed = {self._together.find(name): self._channels(name) for name in _fixed(graph)}

    def _summed(self, step: Step, places: Mapping[str, Sequence[int]]) -> list[Source]:
        found: dict[int, Source] = {}
        for number, source in enumerate(step.sources):
            self._together.unite(step.sources[0], source)
            for channel, item in zip(places[source], self.carried[source], strict=True):
                place = step.places[number][channel] if step.places else channel
                if place in found:
                    self.same.unite(found[place], item)
                else:
                    found[place] = item
        self._together.unite(step.sources[0], step.name)
        return [found[place] for place in places[step.name]]

    def _channels(self, name: str) -> list[Source]:
        return [self.same.find(channel) for channel in self.carried[name]]

    def root_of(self, step: Step) -> str:
        """Return the name of the step that stands for the stream of a step."""
        return self._together.find(step.name)

    def roots(self) -> set[str]:
        """Return the steps that stand for the streams."""
        return {self._together.find(name) for name in self.carried}

    def order(self, root: str) -> list[Source]:
        """Return the channels of a stream in an order that, where there is one, is that of each of its steps."""
        members = [self._channels(name) for name in self.carried if self._together.find(name) == root]
        found = list(dict.fromkeys(channel for each in members for channel in each))
        if root in self.fixed:
            if set(found) != set(self.fixed[root]):
                raise ArchitectureError(f"{root}: expected a stream that holds all its channels from the start.")
            return self.fixed[root]
        after: dict[Source, list[Source]] = {channel: [] for channel in found}
        for each in members:
            for first, second in itertools.pairwise(each):
                after[second].append(first)
        try:
            return list(TopologicalSorter(after).static_order())
        except CycleError:  # two steps carry the same channels in two orders: rows are permuted then
            return found


def _fixed(graph: ChannelGraph) -> Iterator[str]:
    """Yield the steps whose results keep their width."""
    for step in graph.steps:
        if step.kind == "input":
            yield step.name
        elif step.kind == "output":
            yield from step.sources
        elif step.name in graph.grouped:
            yield step.name
            yield from step.sources
