"""Hutchinson's stochastic estimate of channel traces: Algorithms 1 (HAP) and 2 (EHAP) of the paper."""

import time
from collections.abc import Iterator, Sequence
from typing import TypedDict

import torch
from torch import Tensor, nn

from ehap.curvature.products import channel_weights, hessian_product
from ehap.errors import NumericsError
from ehap.runtime import KEEP_NOTHING, Keeper, logger
from ehap.settings import Trace


class State(TypedDict):
    """Where an estimate stands.

    totals: (samples, C) what each sample says about every channel so far. passes: Products done.
    generator: State of the source of random vectors. seconds: Spent so far.
    """

    totals: Tensor
    passes: int
    generator: Tensor
    seconds: float


class Hutchinson:
    """A running estimate of every channel trace.

    For Rademacher v over all weights, v ⊙ Hv summed over a channel's weights has that channel's trace as its mean:
    terms that couple two weights have mean zero. Each micro-batch of the Hessian batch takes its gradient graph once
    and draws its own vectors, which keeps the estimate unbiased.

    Args:
        model: In eval mode.
        images: (N, 3, H, W), normalised.
        labels: (N,) int64.
        settings: Samples, precision, scale and micro-batch.
        seed: Of the random vectors.

    Source: Hutchinson 1989, doi:10.1080/03610918908812806.
    """

    def __init__(self, model: nn.Module, images: Tensor, labels: Tensor, settings: Trace, seed: int) -> None:
        self._model, self._settings, self._count = model, settings, len(images)
        size = settings.micro_batch or len(images)
        self._parts = list(zip(images.split(size), labels.split(size), strict=True))
        self._weights = list(channel_weights(model).values())
        self._generator = torch.Generator(images.device).manual_seed(seed)
        channels = sum(weight.shape[0] for weight in self._weights)
        self._totals = torch.zeros(settings.samples, channels, device=images.device, dtype=self._weights[0].dtype)
        self._passes, self._before, self._began = 0, 0.0, time.perf_counter()

    @property
    def passes_to_do(self) -> int:
        """Products that are still to do."""
        return self._settings.samples * len(self._parts) - self._passes

    @property
    def seconds(self) -> float:
        """Time spent, in this process and before it was cut off."""
        return self._before + time.perf_counter() - self._began

    def run(self, keeper: Keeper = KEEP_NOTHING) -> Iterator[None]:
        """Do the products that are still to do, one at a time."""
        samples = self._settings.samples
        for index in range(self._passes // samples, len(self._parts)):
            images, labels = self._parts[index]
            product = hessian_product(self._model, images, labels, self._settings.precision, self._settings.scale)
            for sample in range(self._passes - index * samples, samples):
                vectors = [rademacher(weight, self._generator) for weight in self._weights]
                part = per_channel(vectors, product(vectors))
                self._totals[sample] += part * (len(images) / self._count)
                self._passes += 1
                if keeper.due():
                    keeper.write(self.state())
                yield

    def state(self) -> State:
        """Return all that the estimate needs to go on from here."""
        generator = self._generator.get_state()
        return State(totals=self._totals, passes=self._passes, generator=generator, seconds=self.seconds)

    def restore(self, state: State) -> None:
        """Go to where ``state`` was taken."""
        self._totals, self._passes = state["totals"].to(self._totals.device), state["passes"]
        self._generator.set_state(state["generator"])
        self._before, self._began = state["seconds"], time.perf_counter()
        logger.info("going on after %d Hessian-vector products", self._passes)

    def result(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard error, both (C,), in the order of channel_weights.

        Raises:
            NumericsError: A sample holds NaN or Inf, as after FP16 overflow.
        """
        totals, count = self._totals, self._settings.samples
        broken = int((~totals.isfinite()).any(dim=1).sum())
        if broken:
            raise NumericsError(
                f"{broken} of {count} Hutchinson samples hold NaN or Inf; lower trace.scale, or use precision bf16 or "
                "fp32."
            )
        error = totals.std(0) / count**0.5 if count > 1 else torch.full_like(totals[0], float("inf"))
        return totals.mean(0), error


def rademacher(like: Tensor, generator: torch.Generator) -> Tensor:
    """Return random ±1 of the shape, type and device of ``like``."""
    bits = torch.randint(2, like.shape, generator=generator, device=like.device, dtype=torch.int8)
    return (bits * 2 - 1).to(like.dtype)


def per_channel(vectors: Sequence[Tensor], products: Sequence[Tensor]) -> Tensor:
    """Return v ⊙ Hv summed over each output channel, all layers in a row: (C,)."""
    pairs = zip(vectors, products, strict=True)
    return torch.cat([(vector * product.to(vector.dtype)).flatten(1).sum(1) for vector, product in pairs])
