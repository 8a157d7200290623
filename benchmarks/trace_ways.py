"""Ways to compute channel traces: ours, the published form, and variants of both, with their cost."""

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ehap.curvature.hutchinson import rademacher
from ehap.curvature.products import FIRST_ORDER_SCALE
from ehap.curvature.regular import regular_samples
from ehap.curvature.traces import channel_traces
from ehap.graph.layers import layer_weights
from ehap.runtime.checkpointing import NO_CHECKPOINTS, NoCheckpoints
from ehap.runtime.device import precision_context, synchronize
from ehap.runtime.memory import PeakMemory
from ehap.settings import Trace
from ehap.settings.checks import Precision

PAPER_SAMPLES = 300
Clock = Callable[[], float]
"""Seconds, as time.perf_counter or time.process_time return them."""


@dataclass(frozen=True)
class Cost:
    """The cost of one contender, and its traces.

    seconds: For ``samples`` Hessian-vector products with the gradient's graph, or for the exact traces (samples 0).
    each: Seconds of one more product, the median of those that were run; None where single products are not timed.
    peak_memory_bytes: See PeakMemory. trace: Module path to (C_out,); empty where there are only products.
    """

    seconds: float
    samples: int
    peak_memory_bytes: int
    trace: Mapping[str, Tensor]
    each: float | None = None


def ours(
    model: nn.Module, images: Tensor, labels: Tensor, settings: Mapping[str, Any], clock: Clock | None = None
) -> Cost:
    """Run our traces with settings of Trace; with a clock, each product is timed, too."""
    chosen = Trace(batch_size=len(images), **settings)
    ticks = None if clock is None else _Ticks(images.device, clock)
    found = channel_traces(model, images, labels, chosen, checkpointer=ticks or NO_CHECKPOINTS)
    each = ticks.each(found.samples) if ticks and found.samples else None
    return Cost(found.seconds, found.samples, found.peak_memory_bytes, found.trace, each)


class _Ticks(NoCheckpoints):
    """Keeps no state, but the time of each product: ``channel_traces`` asks after every one."""

    def __init__(self, device: torch.device, clock: Clock) -> None:
        self._device, self._clock = device, clock
        self._ticks: list[float] = []

    def due(self) -> bool:
        self._ticks.append(now(self._device, self._clock))
        return False

    def each(self, samples: int) -> float | None:
        """Return the seconds of one more sample: the median of its products, all micro-batches together."""
        between = [after - before for before, after in pairwise(self._ticks)]
        return statistics.median(between) * len(self._ticks) / samples if between else None


def published(
    model: nn.Module, images: Tensor, labels: Tensor, samples: int, clock: Clock, precision: Precision = "fp32"
) -> Cost:
    """Run Hutchinson in the published form: whole batch, a Python loop and one ``.item()`` a channel.

    Half precision is Algorithm 2 under autocast, with our two scales: of the loss and of the gradients.
    """
    return _timed(model, images, samples, clock, partial(published_samples, labels=labels, precision=precision))


def regular(
    model: nn.Module, images: Tensor, labels: Tensor, samples: int, clock: Clock, precision: Precision = "fp32"
) -> Cost:
    """Run our products with regular convolutions as second derivatives, see ``ehap.curvature.regular``."""
    return _timed(model, images, samples, clock, partial(regular_samples, labels=labels, precision=precision))


def plain(model: nn.Module, images: Tensor, labels: Tensor, samples: int, clock: Clock) -> Cost:
    """Run plain double backward on the whole batch, with a vectorised sum over each channel."""
    return _timed(model, images, samples, clock, partial(published_samples, labels=labels, item_by_item=False))


def published_samples(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    totals: Mapping[str, Tensor],
    samples: int,
    item_by_item: bool = True,
    precision: Precision = "fp32",
) -> Iterator[None]:
    """Take the gradient of the whole batch, then add samples to ``totals``, one double backward a step.

    Args:
        model: In eval mode, on the device of the images.
        images: (N, 3, H, W), normalised.
        labels: (N,) int64.
        totals: Module path to (C_out,) float64 on the CPU.
        samples: Random vectors.
        item_by_item: A Python loop and one ``.item()`` a channel, or one sum a layer.
        precision: fp16 and bf16 under autocast.
    """
    weights = layer_weights(model)
    scale = 1.0 if precision == "fp32" else FIRST_ORDER_SCALE
    with precision_context(precision, images.device):
        loss = cross_entropy(model(images), labels) * scale
        gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    yield
    for sample in range(samples):
        vectors = rademacher(list(weights.values()), 0, sample, 0)
        with precision_context(precision, images.device):
            products = torch.autograd.grad(
                gradients, list(weights.values()), grad_outputs=vectors, retain_graph=True, only_inputs=True
            )
        for name, vector, product in zip(weights, vectors, products, strict=True):
            if item_by_item:
                for channel in range(len(vector)):
                    totals[name][channel] += (vector[channel] * product[channel]).sum().item() / scale
            else:
                totals[name] += (vector * product).flatten(1).sum(1).cpu() / scale
        yield


def _timed(
    model: nn.Module, images: Tensor, samples: int, clock: Clock, sampler: Callable[..., Iterator[None]]
) -> Cost:
    model.eval()
    totals = {name: torch.zeros(weight.shape[0], dtype=torch.float64) for name, weight in layer_weights(model).items()}
    each = []
    with PeakMemory(images.device) as memory:
        began = now(images.device, clock)
        steps = sampler(model=model, images=images, totals=totals, samples=samples)
        next(steps)
        for _ in range(samples):
            start = now(images.device, clock)
            next(steps)
            each.append(now(images.device, clock) - start)
        seconds = now(images.device, clock) - began
    trace = {name: total / samples for name, total in totals.items()}
    return Cost(seconds, samples, memory.bytes, trace, statistics.median(each))


def now(device: torch.device, clock: Clock) -> float:
    """Return the clock's time when the device has done all its work."""
    synchronize(device)
    return clock()
