"""Which layers carry which channels: the network as a graph of channel sets."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import fx, nn

from ehap.errors import ArchitectureError
from ehap.graph.forward import (
    check_no_hooks,
    check_nothing_is_read_after_it_was_overwritten,
    check_same_in_both_modes,
    trace_forward,
)
from ehap.graph.operations import kind_of
from ehap.graph.union import UnionAdd

Kept = Mapping[str, Sequence[int]]
"""Layer name (module path, e.g. ``layer1.0.conv1``) to the sorted output channels that stay."""

LAYERS = ("conv", "depthwise", "linear")
"""Kinds of steps with weights that map channels to channels."""
SUMS = ("add", "union")
"""Kinds of steps that add two feature maps."""


@dataclass(frozen=True)
class Step:
    """One operation of the forward pass.

    kind: input, conv, depthwise (a convolution of each channel by itself), linear, norm, add, union (the add of a
        network that is pruned already), flatten, keep or output.
    name: Name of the fx node. module: Path of the module; empty for functions.
    sources: Names of the steps whose results it reads.
    places: Of a union, where the channels of each source lie in the sum; else empty.
    """

    kind: str
    name: str
    module: str
    sources: tuple[str, ...]
    places: tuple[tuple[int, ...], ...] = ()

    def arriving(self, number: int, channels: Sequence[int]) -> tuple[int, ...]:
        """Return where channels of a source, by its number, lie in the sum of an add or a union."""
        return tuple(self.places[number][channel] for channel in channels) if self.places else tuple(channels)


@dataclass(frozen=True)
class ChannelGraph:
    """The forward pass as steps in order, with the dense width that leaves each step.

    grouped: The names of the steps that are convolutions in groups of several channels.
    """

    steps: tuple[Step, ...]
    dense: Mapping[str, int]
    grouped: frozenset[str] = frozenset()

    def carried(self, kept: Kept) -> dict[str, tuple[int, ...]]:
        """Return, for each step, the sorted dense channels that its result carries under a plan.

        A convolution carries its kept channels, a depthwise convolution its input channels. An add carries the union of
        its inputs (HAP's residual scheme, finer than tying a whole stage). The input carries all its channels, and a
        linear layer its kept ones.
        """
        result: dict[str, tuple[int, ...]] = {}
        for step in self.steps:
            incoming = [result[source] for source in step.sources]
            if step.kind in ("conv", "linear"):
                result[step.name] = tuple(kept[step.module])
            elif step.kind == "input":
                result[step.name] = tuple(range(self.dense[step.name]))
            elif step.kind in SUMS:
                result[step.name] = tuple(sorted({*step.arriving(0, incoming[0]), *step.arriving(1, incoming[1])}))
            else:
                result[step.name] = incoming[0]
        return result

    def widths(self) -> dict[str, int]:
        """Return the name and dense width of each layer that has channels of its own to keep, in forward order.

        Depthwise convolutions are left out: they keep the channels that they read.
        """
        return {step.module: self.dense[step.name] for step in self.steps if step.kind in ("conv", "linear")}

    def tied(self) -> list[tuple[str, ...]]:
        """Return groups of layers: all writers of one residual stream form a group, every other layer its own."""
        group = {layer: {layer} for layer in self.widths()}
        writers: dict[str, set[str]] = {}
        for step in self.steps:
            if step.kind in ("conv", "linear"):
                writers[step.name] = {step.module}
                continue
            writers[step.name] = {writer for source in step.sources for writer in writers[source]}
            if step.kind in SUMS:
                together = set().union(*(group[writer] for writer in writers[step.name]))
                group |= dict.fromkeys(together, together)
        return list(dict.fromkeys(tuple(layer for layer in self.widths() if layer in each) for each in group.values()))

    def unpruned(self) -> dict[str, str]:
        """Return the layers whose rows all stay, and why."""
        of = {step.name: step for step in self.steps}
        found = dict.fromkeys(
            self._writers(step for step in self.steps if step.kind == "output"), "output of the network"
        )
        grouped = [step for step in self.steps if step.name in self.grouped]
        read = self._writers(of[name] for step in grouped for name in step.sources)
        found |= dict.fromkeys(read - found.keys(), "read by a convolution in groups")
        found |= dict.fromkeys({step.module for step in grouped} - found.keys(), "convolution in groups")
        return {name: found[name] for name in self.widths() if name in found}

    def _writers(self, steps: Iterable[Step]) -> set[str]:
        """Return the layers whose channels the results of steps carry."""
        of, found, waiting = {step.name: step for step in self.steps}, set[str](), list(steps)
        while waiting:
            step = waiting.pop()
            if step.kind in ("conv", "linear"):
                found.add(step.module)
            else:
                waiting.extend(of[name] for name in step.sources)
        return found


def places_among(few: Sequence[int], many: Sequence[int]) -> tuple[int, ...]:
    """Return where the channels ``few`` stand among ``many``."""
    places = {channel: place for place, channel in enumerate(many)}
    return tuple(places[channel] for channel in few)


def channel_graph(model: nn.Module) -> ChannelGraph:
    """Read off a network which layers write, carry and read which channels.

    Raises:
        ArchitectureError: An operation is met that pruning does not know, with its name, or one that overwrites a
            tensor that another operation reads afterwards: the graph's edges would be wrong. Or
            the forward pass is another one in train mode than in eval mode, or has hooks, which no graph shows.
    """
    traced = trace_forward(model)
    check_nothing_is_read_after_it_was_overwritten(traced)
    check_same_in_both_modes(model, traced)
    steps: list[Step] = []
    dense: dict[str, int] = {}
    owners: dict[int, str] = {}
    grouped: set[str] = set()
    flat: set[str] = set()  # the names of the steps that give vectors, not maps
    for node in traced.graph.nodes:
        module = traced.get_submodule(node.target) if node.op == "call_module" else None
        path = str(node.target) if module is not None else ""
        step = Step(kind_of(node, module), node.name, path, _sources(node), _places(module))
        _check(step, module, dense, steps, flat)
        if step.kind in (*LAYERS, "norm") and module is not None:
            _check_parameters(step, module, owners)
        if isinstance(module, nn.Conv2d) and module.groups > 1 and step.kind == "conv":
            grouped.add(step.name)
        dense[step.name] = _dense_width(step, module, dense, traced)
        steps.append(step)
        if step.kind in ("flatten", "linear") or flat & set(step.sources):
            flat.add(step.name)
    check_no_hooks(model, {step.module for step in steps})
    return ChannelGraph(tuple(steps), dense, frozenset(grouped))


def _places(module: nn.Module | None) -> tuple[tuple[int, ...], ...]:
    return (tuple(module.left.tolist()), tuple(module.right.tolist())) if isinstance(module, UnionAdd) else ()


def _sources(node: fx.Node) -> tuple[str, ...]:
    reads = [item for item in node.args if isinstance(item, fx.Node)] or node.all_input_nodes
    return tuple(source.name for source in reads)


def _check(
    step: Step, module: nn.Module | None, dense: Mapping[str, int], seen: Sequence[Step], flat: set[str]
) -> None:
    if isinstance(module, nn.BatchNorm2d) and not module.affine:
        raise ArchitectureError(f"{step.module}: expected BatchNorm2d with affine=True.")
    if step.kind == "input" and any(other.kind == "input" for other in seen):
        raise ArchitectureError(
            f"{step.name}: expected a network of one input; wrap one whose other arguments have defaults in a module "
            "whose forward takes images alone."
        )
    _check_width(step, module, dense, seen, flat)
    if step.kind not in SUMS:
        return
    if isinstance(module, UnionAdd):
        _check_union(step, module, dense)
    if step.kind == "add" and len({dense[source] for source in step.sources}) != 1:
        raise ArchitectureError(
            f"{step.name}: expected an add of equal widths, got {[dense[s] for s in step.sources]}."
        )
    if flat & set(step.sources):
        raise ArchitectureError(f"{step.name}: expected an add of two feature maps, got vectors, behind a flatten.")


def _check_union(step: Step, module: UnionAdd, dense: Mapping[str, int]) -> None:
    """Raise unless a union reads what its sources give, and puts it where its forward pass does."""
    widths, found = [len(each) for each in step.places], [dense[source] for source in step.sources]
    if widths != found:
        raise ArchitectureError(f"{step.module}: expected inputs of {widths} channels, got {found}.")
    in_order = all(list(each) == sorted(set(each)) for each in step.places)
    if not in_order or {*step.places[0], *step.places[1]} != set(range(module.width)):
        raise ArchitectureError(
            f"{step.module}: expected sorted positions of its inputs that cover a sum of {module.width} channels, got "
            f"{step.places[0]!s:.60} and {step.places[1]!s:.60}; sort them, and the channels of its inputs alike."
        )


def _check_width(
    step: Step, module: nn.Module | None, dense: Mapping[str, int], seen: Sequence[Step], flat: set[str]
) -> None:
    """Raise unless a layer reads as many channels as its source gives, or a multiple as features."""
    if step.kind not in (*LAYERS, "norm"):
        return
    source = step.sources[0]
    channels, vectors = dense[source], source in flat
    if vectors != isinstance(module, nn.Linear):
        reads = ("maps", "vectors") if vectors else ("vectors, behind a flatten", "maps")
        raise ArchitectureError(f"{step.module}: expected {reads[0]}, got {reads[1]} from {source}.")
    if isinstance(module, nn.Linear):
        several = _writer(source, seen).kind != "linear"  # of each channel of a map, wherever it was flattened
        if module.in_features % channels or (module.in_features != channels and not several):
            raise ArchitectureError(
                f"{step.module}: expected {'a multiple of ' if several else ''}{channels} features from {source}, "
                f"got {module.in_features}."
            )
        return
    wanted = module.in_channels if isinstance(module, nn.Conv2d) else module.num_features  # type: ignore[union-attr]
    if wanted != channels:
        raise ArchitectureError(f"{step.module}: expects {wanted} channels, but {source} gives {channels}.")


def _writer(name: str, steps: Sequence[Step]) -> Step:
    """Return the step whose channels reach this one unchanged."""
    of = {step.name: step for step in steps}
    while of[name].kind in ("keep", "flatten"):
        name = of[name].sources[0]
    return of[name]


def _check_parameters(step: Step, module: nn.Module, owners: dict[int, str]) -> None:
    """Raise unless a layer has plain parameters that no earlier layer has; note this layer as their owner."""
    for name in ("weight", "bias"):
        if name not in module._parameters:  # a plain layer has the name even where it has no bias
            raise ArchitectureError(
                f"{step.module}: expected {name} to be a parameter, but it is computed from others; undo the "
                "reparametrization first, with remove_parametrizations, prune.remove, remove_weight_norm or "
                "remove_spectral_norm of torch.nn.utils."
            )
    for parameter in module.parameters(recurse=False):
        if any(size > 1 and not stride for size, stride in zip(parameter.shape, parameter.stride(), strict=True)):
            raise ArchitectureError(f"{step.module}: its weights share memory with each other; give it clones of them.")
        if owners.setdefault(parameter.data_ptr() or id(parameter), step.name) != step.name:
            raise ArchitectureError(
                f"{step.module}: is used twice in the forward pass, or shares a parameter with another layer; pruning "
                "needs each layer used once."
            )


def _dense_width(step: Step, module: nn.Module | None, dense: Mapping[str, int], traced: fx.GraphModule) -> int:
    if isinstance(module, nn.Conv2d):
        return module.out_channels
    if isinstance(module, nn.Linear):
        return module.out_features
    if isinstance(module, UnionAdd):
        return module.width
    if step.kind != "input":
        return dense[step.sources[0]]
    called = (traced.get_submodule(str(node.target)) for node in traced.graph.nodes if node.op == "call_module")
    first = next((item for item in called if isinstance(item, nn.Conv2d)), None)  # in forward order
    if first is None:
        raise ArchitectureError("expected a network with at least one convolution, whose channels could be pruned.")
    return first.in_channels
