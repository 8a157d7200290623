"""Hutchinson's stochastic estimate of channel traces: Algorithms 1 (HAP) and 2 (EHAP) of the paper."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypedDict

import numpy
import torch
from torch import Tensor, nn

from ehap.curvature.frozen import frozen_copy, geometry
from ehap.curvature.partial import Partial
from ehap.curvature.products import FIRST_ORDER_SCALE, HessianProduct
from ehap.errors import NumericsError
from ehap.graph.reading import EXAMPLES, check_twin
from ehap.runtime.checkpointing import NO_CHECKPOINTS, Checkpointer
from ehap.runtime.progress import logger
from ehap.settings import Trace

CPU_MICRO_BATCH = 128  # half again as fast as 512 at once on a CPU, and four times leaner
BLOCK = 25  # samples between two looks at the stability of the plan
HIGHEST_SCALE, LOWEST_SCALE = 2.0**24, 2.0**-40
BACK_OFF, GROWTH, GOOD_SAMPLES = 4.0, 2.0, 20  # a dynamic scale falls fast and rises slowly
PUBLISHED_FALL = 2.0**-8

Stable = Callable[[Tensor], bool]
"""Whether samples (n, C) make the plan stable."""


class State(TypedDict):
    """State of an estimate.

    totals: (samples, C), each sample's value for every channel so far. passes: Products done.
    scale, first, streak, repeated: State of the dynamic scale. seconds: Time spent so far.
    """

    totals: Tensor
    passes: int
    scale: float
    first: float
    streak: int
    repeated: int
    seconds: float


class Hutchinson:
    """A running estimate of every channel trace.

    For Rademacher v over all weights, v ⊙ Hv summed over a channel's weights has that channel's trace as its mean:
    terms that couple two weights have mean zero. Each micro-batch of the Hessian batch takes its gradient graph once
    and draws its own vectors, which keeps the estimate unbiased. A sample's vectors depend on the seed, its number
    and the micro-batch only, so samples may be computed in any order and by several jobs.

    Args:
        model: Any mode; it is not changed.
        images: (N, 3, H, W), normalised.
        labels: (N,) int64.
        settings: Samples, precision, scale and micro-batch.
        seed: Seed of the random vectors.
        samples: Numbers of the samples to compute; all where left out.
        stable: Ends the estimate early; asked after every 25 samples.
        loss_factor: Multiplies the loss.

    Attributes:
        reading: The agreement of the network and its traced graph on the first images.

    Source: Hutchinson 1989, doi:10.1080/03610918908812806.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        settings: Trace,
        seed: int,
        samples: range | None = None,
        stable: Stable | None = None,
        loss_factor: float = 1.0,
    ) -> None:
        self._before, self._began = 0.0, time.perf_counter()
        frozen = frozen_copy(model)
        self.reading = check_twin(model, frozen.network, images[:EXAMPLES])
        self._model = frozen.network
        self._weights: list[Tensor] = [geometry(layer).weight for layer in frozen.layers.values()]
        self._settings, self._seed, self._count, self._factor = settings, seed, len(images), loss_factor
        size = settings.micro_batch or (CPU_MICRO_BATCH if images.device.type == "cpu" else len(images))
        if images.dim() == 4:  # noqa: PLR2004 (N, C, H, W)
            images = images.contiguous(memory_format=torch.channels_last)
        self._parts = list(zip(images.split(size), labels.split(size), strict=True))
        self._samples = range(settings.samples) if samples is None else samples
        self._stable, self._done = stable, 0
        channels = sum(weight.shape[0] for weight in self._weights)
        self._totals = torch.zeros(len(self._samples), channels, device=images.device, dtype=torch.float64)
        self._passes = 0
        self._dynamic = settings.scale == "dynamic"
        self._scale = HIGHEST_SCALE if settings.scale == "dynamic" else settings.scale
        self._first = HIGHEST_SCALE if self._dynamic else FIRST_ORDER_SCALE
        self._streak = self._repeated = 0

    @property
    def passes_to_do(self) -> int:
        """Products that are still to do."""
        return len(self._samples) * len(self._parts) - self._passes

    @property
    def seconds(self) -> float:
        """Time spent, in this process and before it was cut off."""
        return self._before + time.perf_counter() - self._began

    def run(self, checkpointer: Checkpointer = NO_CHECKPOINTS) -> Iterator[None]:
        """Do the products that are still to do, one at a time."""
        block = BLOCK if self._stable else len(self._samples)
        passed = 0
        for first in range(0, len(self._samples), block):
            rows = range(first, min(first + block, len(self._samples)))
            for part in range(len(self._parts)):
                passed += len(rows)
                if passed <= self._passes:
                    continue
                product = self._product(part)
                for row in rows[len(rows) - (passed - self._passes) :]:
                    self._totals[row] += self._sample(product, row, part) * (len(self._parts[part][0]) / self._count)
                    self._passes += 1
                    if checkpointer.due():
                        checkpointer.write(self.state())
                    yield
            self._done = rows.stop
            if self._stable and self._done > 1 and self._stable(self._totals[: self._done].cpu()):
                logger.info("the plan is stable after %d samples", self._done)
                return

    def _product(self, part: int) -> HessianProduct:
        images, labels = self._parts[part][0].clone(), self._parts[part][1]  # a network may overwrite them
        precision = self._settings.precision
        while True:
            product = HessianProduct(self._model, self._weights, images, labels, precision, self._first, self._factor)
            if not self._dynamic or product.finite():
                return product
            self._first /= BACK_OFF
            if self._first < LOWEST_SCALE:
                raise NumericsError("the gradient of the Hessian batch is not finite at any scale; check the network.")

    def _sample(self, product: HessianProduct, row: int, part: int) -> Tensor:
        """Return one sample's value for every channel, (C,), at a scale at which it is finite."""
        number = self._samples[row]
        vectors = rademacher(self._weights, self._seed, number, part)
        if self._settings.as_published:  # the scale falls inside the loop, and nothing is divided by it
            return per_channel(vectors, product(vectors, PUBLISHED_FALL**number))
        while True:
            values = per_channel(vectors, product(vectors, self._scale)) / self._scale
            if not self._dynamic:
                return values
            if values.isfinite().all():
                self._streak += 1
                if self._streak % GOOD_SAMPLES == 0:
                    self._scale *= GROWTH
                return values
            self._scale, self._streak = self._scale / BACK_OFF, 0
            self._repeated += 1
            if self._scale < LOWEST_SCALE:
                raise NumericsError("a Hutchinson sample is not finite at any scale; use precision bf16 or fp32.")

    def state(self) -> State:
        """Return the state from which the estimate can continue."""
        return State(
            totals=self._totals,
            passes=self._passes,
            scale=self._scale,
            first=self._first,
            streak=self._streak,
            repeated=self._repeated,
            seconds=self.seconds,
        )

    def restore(self, state: State) -> None:
        """Go to where ``state`` was taken."""
        self._totals, self._passes = state["totals"].to(self._totals.device), state["passes"]
        self._scale, self._first = state["scale"], state["first"]
        self._streak, self._repeated = state["streak"], state["repeated"]
        self._before, self._began = state["seconds"], time.perf_counter()
        logger.info("going on after %d Hessian-vector products", self._passes)

    def result(self) -> Partial:
        """Return the samples that are done."""
        rows = self._totals[: self._done].cpu()
        of = len(rows) if self._stable else self._settings.samples
        return Partial(self._samples.start, of, {"trace": rows}, repeated=self._repeated, seconds=self.seconds)


def rademacher(like: Sequence[Tensor], seed: int, sample: int, part: int) -> list[Tensor]:
    """Return random ±1 of the shapes, types and device of ``like``, drawn for one sample and micro-batch."""
    words = numpy.random.SeedSequence((seed, sample, part)).generate_state(2)
    generator = torch.Generator(like[0].device).manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)
    count = sum(weight.numel() for weight in like)
    signs = torch.randint(2, (count,), generator=generator, device=like[0].device, dtype=torch.int8) * 2 - 1
    parts = signs.to(like[0].dtype).split([weight.numel() for weight in like])
    return [part.view(weight.shape) for part, weight in zip(parts, like, strict=True)]


def per_channel(vectors: Sequence[Tensor], products: Sequence[Tensor]) -> Tensor:
    """Return v ⊙ Hv summed over each output channel, all layers in a row: (C,)."""
    pairs = zip(vectors, products, strict=True)
    return torch.cat([(vector * product.to(vector.dtype)).flatten(1).sum(1) for vector, product in pairs])
