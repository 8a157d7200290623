"""The layers of a pruned network fitted anew to what the dense network computes: least squares, no training."""

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from ehap.errors import ArchitectureError, DataError, NumericsError, PlanError
from ehap.pruning.channels import LAYERS, ChannelGraph, Kept, PruningPlan, Step, channel_graph, trace_forward
from ehap.pruning.least_squares import Fitter, LayerFit
from ehap.pruning.surgery import checked_kept
from ehap.pruning.union import UnionAdd
from ehap.runtime import track

CHUNK_BYTES, MAP_CHANNELS = 2**24, 64  # images are walked in chunks whose maps of 64 channels take so much
Chunks = list[Tensor | None]
"""A step's result for all images, (n, C, H, W) or (n, C) a chunk; None where it is needed no more."""


@dataclass(frozen=True)
class Reconstruction:
    """A reconstructed network and how its layers were fitted, in the order in which they were."""

    network: nn.Module
    fits: tuple[LayerFit, ...]


@torch.no_grad()
def reconstruct(
    dense: nn.Module,
    pruned: nn.Module,
    plan: PruningPlan | Kept,
    images: Tensor,
    ridge: float = 1e-2,
    positions: int | None = 64,
    seed: int = 0,
) -> Reconstruction:
    """Fit every layer of a pruned network, in forward order, to what the dense network computes; no labels.

    A layer gets the weights and bias with which, from the inputs that it has in the *pruned* network, it comes nearest
    to the dense network's outputs (BatchNorm included) at its kept channels. The last writer of a residual sum aims at
    the dense sum less what the other branch already brings, so it repairs the stream, too. With X the inputs of the
    layer, a column of ones included, and E what its trained weights W₀ leave wrong, W = W₀ + Δ, (XᵀX + D) Δ = XᵀE,
    D = ridge · mean diagonal of XᵀX, zero for the ones: ridge regression that pulls towards the trained weights.
    Products of a chunk of images are in the images' type, their sums in float64. The result is put back as weights of
    the trained rows' norms and a BatchNorm with the statistics of these images, so that later training meets what it
    expects.

    Args:
        dense: The trained network.
        pruned: What ``prune(dense, plan)`` has returned, or the same trained on.
        plan: The plan, or what it keeps.
        images: (N, C, H, W), as the networks take them (normalised), N ≥ 2, on the networks' device.
        ridge: Above 0. Small values fit better, but leave cancelling weights, by which later training diverges.
        positions: Of each map, drawn anew for every chunk of images, that give equations; None takes all.
        seed: Of their draw.

    Returns:
        A new network in the mode of ``pruned``; both networks stay as they are.

    Raises:
        DataError: There are fewer than two images, or they are of another shape.
        NumericsError: An image, or what a layer computes from it, holds NaN or Inf.
        PlanError: The networks do not fit the plan, or the ridge is not above 0.
        ArchitectureError: The network has an operation that pruning does not know.

    Source: He, Zhang, Sun 2017, Channel Pruning for Accelerating Very Deep Neural Networks, arXiv:1707.06168, for
    chains; here for independently pruned residual branches.
    """
    graph = channel_graph(dense)
    kept = checked_kept(graph, plan)
    _check(dense, pruned, graph, kept, images, ridge, positions)
    result, whole = copy.deepcopy(pruned).eval(), copy.deepcopy(dense).eval()
    inplace = [module for each in (result, whole) for module in each.modules() if getattr(module, "inplace", False)]
    for module in inplace:  # a result may have readers that are still to come
        module.inplace = False  # type: ignore[assignment]
    walk = _Walk(whole, result, graph, kept, images, Fitter(ridge, positions, seed))
    walk.go()
    for module in inplace:
        module.inplace = True  # type: ignore[assignment]
    result.train(pruned.training)
    return Reconstruction(result, tuple(walk.fits))


def _check(
    dense: nn.Module,
    pruned: nn.Module,
    graph: ChannelGraph,
    kept: Kept,
    images: Tensor,
    ridge: float,
    positions: int | None,
) -> None:
    """Raise unless the arguments of ``reconstruct`` belong together."""
    if not ridge > 0:
        raise PlanError(f"expected a ridge above 0, got {ridge:g}.")
    if positions is not None and positions < 1:
        raise PlanError(f"expected at least 1 position of each map, got {positions}.")
    channels = graph.dense[graph.steps[0].name]
    if images.ndim != 4 or images.shape[1] != channels or not images.is_floating_point():  # noqa: PLR2004
        raise DataError(
            f"expected normalised images of shape (N, {channels}, H, W), got {tuple(images.shape)} of {images.dtype}."
        )
    if len(images) < 2:  # noqa: PLR2004
        raise DataError(f"expected at least 2 images to fit layers to, got {len(images)}.")
    if not images.isfinite().all():
        raise NumericsError("the images hold NaN or Inf; expected finite pixels.")
    _check_runs(dense, images[:2])
    carried = graph.carried(kept)
    for step in graph.steps:
        if step.kind not in LAYERS:
            continue
        try:
            found = pruned.get_submodule(step.module).weight
        except AttributeError:
            raise PlanError(f"expected a network pruned by the plan, got one without {step.module}.") from None
        whole = dense.get_submodule(step.module).weight
        assert isinstance(found, Tensor)
        assert isinstance(whole, Tensor)
        read, arriving = graph.dense[step.sources[0]], len(carried[step.sources[0]])
        inputs = whole.shape[1] * arriving // read if step.kind != "depthwise" else 1
        expected = (len(carried[step.name]), inputs, *whole.shape[2:])
        if found.shape != expected:
            raise PlanError(
                f"{step.module}: the plan leaves weights of shape {expected}, the network's are {tuple(found.shape)}; "
                "give the network that was pruned by this plan."
            )


def _check_runs(dense: nn.Module, images: Tensor) -> None:
    """Raise DataError if the dense network cannot take the images, before long work starts."""
    norms = [
        name for name, each in dense.named_modules() if isinstance(each, nn.BatchNorm2d) and each.running_mean is None
    ]
    if norms:
        raise ArchitectureError(f"{norms[0]}: expected BatchNorm2d with running statistics (track_running_stats=True).")
    try:
        copy.deepcopy(dense).eval()(images)
    except RuntimeError as error:
        raise DataError(
            f"the dense network cannot take images {tuple(images.shape[1:])} of {images.dtype} on {images.device} "
            f"({str(error).splitlines()[0][:160]}); give images as it was trained on, of its type, on its device."
        ) from None


class _Walk:
    """Both networks' results, step by step, for all images; a result is dropped as its last reader takes it."""

    def __init__(
        self, dense: nn.Module, pruned: nn.Module, graph: ChannelGraph, kept: Kept, images: Tensor, fitter: Fitter
    ) -> None:
        self._dense, self._pruned, self._fitter = dense, pruned, fitter
        self._graph, self._kept, self._carried = graph, kept, graph.carried(kept)
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
        self._adds = {source: step for step in graph.steps if step.kind == "add" for source in step.sources}
        size = max(1, CHUNK_BYTES // (MAP_CHANNELS * images[0, 0].numel() * images.element_size()))
        self._wanted, self._had = (_Results(self._readers) for _ in range(2))  # by the dense, by the pruned network
        for results in (self._wanted, self._had):
            results.put(graph.steps[0].name, list(images.split(size)))
        self.fits: list[LayerFit] = []

    def go(self) -> None:
        """Walk through the network once, and fit its layers on the way."""
        waiting: dict[str, Step] = {}  # the step in which a layer ends that writes into a sum, to the layer
        for step in track(self._graph.steps[1:], "reconstruction, steps", len(self._graph.steps) - 1):
            if step.kind == "output" or step.name in self._norms:
                continue
            layer = self._layer_ending_in(step)
            if step.kind == "add":
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
        """Return what a step does with the results that it reads."""
        if step.module:
            return model.get_submodule(step.module)
        node = self._nodes[step.name]
        target = node.target
        assert callable(target)

        def call(*inputs: Tensor) -> Tensor:
            values = dict(zip(step.sources, inputs, strict=True))
            arguments, named = fx.node.map_arg((node.args, dict(node.kwargs)), lambda item: values[item.name])
            result: Tensor = target(*arguments, **named | ({"inplace": False} if "inplace" in named else {}))
            return result

        return call

    def _fit_and_add(self, step: Step, writers: Mapping[str, Step]) -> None:
        """Fit the layers that write into a sum, the one with the most unknowns last, and add."""
        order = sorted(writers, key=lambda end: self._weight(writers[end])[0].numel())
        for end in order[:-1]:
            self._fit(writers[end], self._steps[end], self._wanted.chunks(end))
        self._wanted.put(step.name, self._wanted.mapped(torch.add, step.sources))
        places = {channel: place for place, channel in enumerate(self._carried[step.name])}
        sides = [[places[channel] for channel in self._carried[source]] for source in step.sources]
        union = UnionAdd(sides[0], sides[1], len(places))
        if order:
            end = order[-1]
            other = next(source for source in step.sources if source != end)
            wanted = self._wanted.chunks(step.name), (other, self._had.chunks(other))
            self._fit(writers[end], self._steps[end], *wanted)
        union.to(next(self._pruned.parameters()).device)
        self._had.put(step.name, self._had.mapped(union, step.sources))

    def _weight(self, layer: Step) -> Tensor:
        weight = self._pruned.get_submodule(layer.module).weight
        assert isinstance(weight, Tensor)
        return weight

    def _fit(self, layer: Step, end: Step, wanted: Chunks, beside: tuple[str, Chunks] | None = None) -> None:
        """Fit a layer of the pruned network and compute its result.

        Args:
            layer: The convolution or linear layer.
            end: The step that gives its result: itself or its BatchNorm.
            wanted: What the dense network has there, all dense channels.
            beside: The step, and its chunks, that will be added to the result; ``wanted`` is then the sum.
        """
        module = self._pruned.get_submodule(layer.module)
        norm = None if end is layer else self._pruned.get_submodule(end.module)
        assert isinstance(module, (nn.Conv2d, nn.Linear))
        assert norm is None or isinstance(norm, nn.BatchNorm2d)
        rows = list(self._carried[layer.name])
        mine, theirs = self._shared(rows, beside[0]) if beside else ([], [])

        def pairs() -> Iterator[tuple[Tensor, Tensor]]:
            for index, (inputs, whole) in enumerate(zip(self._had.chunks(layer.sources[0]), wanted, strict=True)):
                target = _there(whole)[:, rows]
                if beside and mine:
                    target[:, mine] -= _there(beside[1][index])[:, theirs]
                yield _there(inputs), target

        self.fits.append(self._fitter(layer.module, module, norm, pairs()))
        raw = self._had.mapped(module, layer.sources)
        self._had.put(end.name, raw if norm is None else _normalised_(norm, raw, layer.module))

    def _shared(self, rows: Sequence[int], other: str) -> tuple[list[int], list[int]]:
        """Return at which of ``rows``, and of the channels that ``other`` carries, both have the same channel."""
        places = {channel: place for place, channel in enumerate(self._carried[other])}
        both = [(index, places[channel]) for index, channel in enumerate(rows) if channel in places]
        return [mine for mine, _ in both], [theirs for _, theirs in both]


class _Results:
    """What the steps of a network have computed, as long as a step to come reads it."""

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
        """Return what a reader makes of its sources; those that it reads last are dropped chunk by chunk."""
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


def _normalised_(norm: nn.BatchNorm2d, raw: Chunks, name: str) -> Chunks:
    """Give a BatchNorm, which so far stands for γ · x + β, the statistics of ``raw``; return its results, the same.

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
