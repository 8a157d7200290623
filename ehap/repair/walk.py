"""The walk through a dense and a pruned network side by side, on which the layers of the pruned one are fitted."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypedDict

import torch
from torch import Tensor, fx, nn

from ehap.errors import NumericsError
from ehap.graph.channels import LAYERS, SUMS, ChannelGraph, Kept, Step, places_among
from ehap.graph.forward import overwrites, trace_forward
from ehap.graph.union import UnionAdd
from ehap.repair.least_squares import Fitter, LayerFit
from ehap.runtime.checkpointing import Checkpointer
from ehap.runtime.progress import logger, track

CHUNK_BYTES, MAP_CHANNELS = 2**24, 64  # images are walked in chunks whose maps of 64 channels take so much
Chunks = list[Tensor | None]
"""A step's result for all images, (n, C, H, W) or (n, C) a chunk; None where it is needed no more."""


class State(TypedDict):
    """State from which a walk can continue.

    fits: Layer to its LayerFit, as a mapping. weights: Layer to the state dicts of it and of its BatchNorm, if it has
    one, as the fit has left them. draws: The state of the fitter's generator. seconds: Spent so far.
    """

    fits: dict[str, dict[str, Any]]
    weights: dict[str, list[dict[str, Tensor]]]
    draws: Tensor
    seconds: float


class Walk:
    """Both networks' results, step by step, for all images; a result is dropped as its last reader takes it."""

    def __init__(
        self,
        dense: nn.Module,
        pruned: nn.Module,
        graph: ChannelGraph,
        kept: Kept,
        images: Tensor,
        fitter: Fitter,
        checkpointer: Checkpointer,
    ) -> None:
        self._dense, self._pruned, self._fitter = dense, pruned, fitter
        self._graph, self._kept, self._carried = graph, kept, graph.carried(kept)
        self._images = len(images)
        self._steps = {step.name: step for step in graph.steps}
        self._nodes = {node.name: node for node in trace_forward(dense).graph.nodes}
        self._readers = Counter(source for step in graph.steps for source in step.sources)
        self._norms = {
            step.sources[0]: step
            for step in graph.steps
            if step.kind == "norm"
            and self._steps[step.sources[0]].kind in ("conv", "depthwise")
            and self._readers[step.sources[0]] == 1
        }
        self._adds = {source: step for step in graph.steps if step.kind in SUMS for source in step.sources}
        size = max(1, CHUNK_BYTES // (MAP_CHANNELS * images[0, 0].numel() * images.element_size()))
        self._wanted, self._had = (_Results(self._readers) for _ in range(2))  # by the dense, by the pruned network
        for results in (self._wanted, self._had):
            results.put(graph.steps[0].name, list(images.split(size)))
        self._checkpointer, self._began = checkpointer, time.perf_counter()
        self._state = State(fits={}, weights={}, draws=fitter.draws(), seconds=0.0)
        self.fits: list[LayerFit] = []

    def go(self) -> None:
        """Walk through the network once, and fit its layers on the way; those of a state are fitted already."""
        state = self._checkpointer.read()
        if state is not None:
            self._state = state
            self._fitter.go_on(state["draws"])
            self._began -= state["seconds"]
            logger.info("going on after %d fitted layers", len(state["fits"]))
        waiting: dict[str, Step] = {}  # the step in which a layer ends that writes into a sum, to the layer
        for step in track(self._graph.steps[1:], "reconstruction, steps", len(self._graph.steps) - 1):
            if step.kind == "output" or step.name in self._norms:
                continue
            layer = self._layer_ending_in(step)
            if step.kind in SUMS:
                self._fit_and_add(step, {name: waiting.pop(name) for name in step.sources if name in waiting})
            elif layer is None:
                self._wanted.put(step.name, self._wanted.mapped(self._call(step, self._dense), step.sources))
                self._had.put(step.name, self._had.mapped(self._call(step, self._pruned), step.sources))
            else:
                whole = self._call(layer, self._dense), self._call(step, self._dense)
                call = whole[0] if layer is step else lambda x, both=whole: both[1](both[0](x))
                self._wanted.put(step.name, self._wanted.mapped(call, layer.sources))
                add = self._adds.get(step.name)
                if add is not None and self._readers[step.name] == 1 and len(set(add.sources)) == 2:  # noqa: PLR2004
                    waiting[step.name] = layer
                else:
                    self._fit(layer, step, self._wanted.chunks(step.name))

    def _layer_ending_in(self, step: Step) -> Step | None:
        """Return the convolution or linear layer whose result, through its BatchNorm if it has one, ``step`` gives."""
        if step.kind in LAYERS:
            return step
        return self._steps[step.sources[0]] if step.kind == "norm" and step.sources[0] in self._norms else None

    def _call(self, step: Step, model: nn.Module) -> Callable[..., Tensor]:
        """Return the result of a step from its inputs."""
        if step.module:
            return model.get_submodule(step.module)
        node = self._nodes[step.name]
        target = node.target
        assert callable(target)

        def call(*inputs: Tensor) -> Tensor:
            values = dict(zip(step.sources, inputs, strict=True))
            if overwrites(node, None):  # another reader may be still to come
                values[step.sources[0]] = values[step.sources[0]].clone()
            arguments, named = fx.node.map_arg((node.args, dict(node.kwargs)), lambda item: values[item.name])
            result: Tensor = target(*arguments, **named)
            return result

        return call

    def _fit_and_add(self, step: Step, writers: Mapping[str, Step]) -> None:
        """Fit the layers that write into a sum, the one with the most unknowns last, and add."""
        order = sorted(writers, key=lambda end: self._weight(writers[end])[0].numel())
        for end in order[:-1]:
            self._fit(writers[end], self._steps[end], self._wanted.chunks(end))
        add = self._dense.get_submodule(step.module) if step.module else torch.add
        self._wanted.put(step.name, self._wanted.mapped(add, step.sources))
        whole = self._carried[step.name]
        sides = (step.arriving(number, self._carried[source]) for number, source in enumerate(step.sources))
        left, right = (list(places_among(places, whole)) for places in sides)
        union = UnionAdd(left, right, len(whole))
        if order:
            end = order[-1]
            other = next(source for source in step.sources if source != end)
            self._fit(writers[end], self._steps[end], self._wanted.chunks(step.name), (step, other))
        union.to(next(self._pruned.parameters()).device)
        self._had.put(step.name, self._had.mapped(union, step.sources))

    def _places(self, add: Step) -> dict[str, tuple[int, ...]]:
        """Return where the channels that each source of a sum carries lie in the sum of the dense network."""
        return {source: add.arriving(number, self._carried[source]) for number, source in enumerate(add.sources)}

    def _weight(self, layer: Step) -> Tensor:
        weight = self._pruned.get_submodule(layer.module).weight
        assert isinstance(weight, Tensor)
        return weight

    def _fit(self, layer: Step, end: Step, wanted: Chunks, beside: tuple[Step, str] | None = None) -> None:
        """Fit a layer of the pruned network and compute its result.

        Args:
            layer: The convolution or linear layer.
            end: The step that gives its result: itself or its BatchNorm.
            wanted: The dense network's values there, all dense channels.
            beside: The sum and its other source; ``wanted`` is then the dense network's sum.
        """
        module = self._pruned.get_submodule(layer.module)
        norm = None if end is layer else self._pruned.get_submodule(end.module)
        assert isinstance(module, (nn.Conv2d, nn.Linear))
        assert norm is None or isinstance(norm, nn.BatchNorm2d)
        rows = list(self._carried[layer.name])
        places, other = rows, list[Tensor | None]()
        mine, theirs = list[int](), list[int]()
        if beside:
            of = self._places(beside[0])
            places, other = list(of[end.name]), self._had.chunks(beside[1])
            mine, theirs = _shared(places, of[beside[1]])

        def pairs() -> Iterator[tuple[Tensor, Tensor]]:
            for index, (inputs, whole) in enumerate(zip(self._had.chunks(layer.sources[0]), wanted, strict=True)):
                target = _there(whole)[:, places]
                if mine:
                    target[:, mine] -= _there(other[index])[:, theirs]
                yield _there(inputs), target

        if layer.module in self._state["fits"]:
            self._put_back(layer.module, module, norm)
        else:
            fit = self._fitter(layer.module, module, norm, pairs(), self._images)
            self._keep(fit, module, norm)
        self.fits.append(LayerFit(**self._state["fits"][layer.module]))
        raw = self._had.mapped(module, layer.sources)
        self._had.put(end.name, raw if norm is None else _normalised_(norm, raw, layer.module))

    def _keep(self, fit: LayerFit, module: nn.Module, norm: nn.Module | None) -> None:
        """Add a fitted layer to the state, as the fit has left it, and keep the state if it is due."""
        state = self._state
        state["fits"][fit.layer] = asdict(fit)
        for part in (module, norm) if norm is not None else (module,):
            tensors = {name: tensor.clone() for name, tensor in part.state_dict().items()}
            state["weights"].setdefault(fit.layer, []).append(tensors)
        state["draws"], state["seconds"] = self._fitter.draws(), self.seconds()
        if self._checkpointer.due():
            self._checkpointer.write(state)

    def _put_back(self, layer: str, module: nn.Module, norm: nn.Module | None) -> None:
        """Give a layer its tensors from the state."""
        for part, tensors in zip((module, norm), self._state["weights"][layer], strict=False):
            assert part is not None
            part.load_state_dict(tensors)

    def seconds(self) -> float:
        """Return how long the walk has taken, over its breaks."""
        return time.perf_counter() - self._began


class _Results:
    """Results of a network's steps, kept until the last step that reads them."""

    def __init__(self, readers: Mapping[str, int]) -> None:
        self._left = dict(readers)
        self._chunks: dict[str, Chunks] = {}

    def put(self, name: str, chunks: Chunks) -> None:
        """Add a step's result."""
        self._chunks[name] = chunks

    def chunks(self, name: str) -> Chunks:
        """Look at a result without being one of its readers."""
        return self._chunks[name]

    def mapped(self, call: Callable[..., Tensor], sources: Sequence[str]) -> Chunks:
        """Return the result of a reader; sources that it reads last are dropped chunk by chunk."""
        lists = [self._chunks[name] for name in sources]
        ended = set()
        for name in set(sources):
            self._left[name] -= sources.count(name)
            if not self._left[name]:
                ended.add(name)
                del self._chunks[name]
        result: Chunks = []
        for index in range(len(lists[0])):
            result.append(call(*(_there(chunks[index]) for chunks in lists)))
            for name, chunks in zip(sources, lists, strict=True):
                if name in ended:
                    chunks[index] = None
        return result


def _shared(mine: Sequence[int], theirs: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the places of the shared channels among the first and among the second."""
    places = {channel: place for place, channel in enumerate(theirs)}
    both = [(index, places[channel]) for index, channel in enumerate(mine) if channel in places]
    return [first for first, _ in both], [second for _, second in both]


def _normalised_(norm: nn.BatchNorm2d, raw: Chunks, name: str) -> Chunks:
    """Give a BatchNorm that computes γ · x + β the statistics of ``raw``; return its unchanged results.

    γ (x - μ) / σ + β with γ' = γ σ and β' = β + γ μ is γ x + β: in eval mode nothing changes.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for chunk in raw:
        values = _there(chunk).double()
        count += values[:, 0].numel()
        total = total + values.sum((0, 2, 3))
    mean = total / count
    for chunk in raw:
        squares = squares + (_there(chunk).double() - mean.view(1, -1, 1, 1)).square().sum((0, 2, 3))
    if not squares.isfinite().all():
        raise NumericsError(f"{name}: its results hold NaN or Inf.")
    variance = squares / max(1, count - 1)
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.zero_()
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.bias.add_(norm.weight * norm.running_mean)
    norm.weight.mul_((norm.running_var + norm.eps).sqrt())
    for index, chunk in enumerate(raw):
        raw[index] = norm(_there(chunk))
    return raw


def _there(chunk: Tensor | None) -> Tensor:
    assert chunk is not None  # its last reader is still to come
    return chunk
