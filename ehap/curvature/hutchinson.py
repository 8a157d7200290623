"""Hutchinson's stochastic estimate of channel traces: Algorithms 1 (HAP) and 2 (EHAP) of the paper."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from ehap.curvature.products import channel_weights, hessian_product
from ehap.errors import NumericsError
from ehap.settings import Trace


def hutchinson_samples(
    model: nn.Module, images: Tensor, labels: Tensor, settings: Trace, seed: int
) -> Iterator[tuple[int, Tensor]]:
    """Yield, pass by pass, what one random vector says about every channel trace.

    For Rademacher v over all weights, v ⊙ Hv summed over a channel's weights has that channel's trace as its mean:
    terms that couple two weights have mean zero. Each micro-batch of the Hessian batch takes its gradient graph once
    and draws its own vectors, which keeps the estimate unbiased.

    Args:
        model: In eval mode.
        images: (N, 3, H, W), normalised.
        labels: (N,) int64.
        settings: Samples, precision, scale and micro-batch.
        seed: Of the random vectors.

    Yields:
        (sample, part): sample counts from 0 to settings.samples - 1 once for each micro-batch; part has shape (C,)
        for all channels of all layers in the order of channel_weights, float32, on the device of the images. The
        parts of one sample over the micro-batches add up to that sample's estimate.

    Source: Hutchinson 1989, doi:10.1080/03610918908812806.
    """
    weights = list(channel_weights(model).values())
    generator = torch.Generator(images.device).manual_seed(seed)
    size = settings.micro_batch or len(images)
    for part, targets in zip(images.split(size), labels.split(size), strict=True):
        share = len(part) / len(images)
        product = hessian_product(model, part, targets, settings.precision, settings.scale)
        for sample in range(settings.samples):
            vectors = [rademacher(weight, generator) for weight in weights]
            yield sample, per_channel(vectors, product(vectors)) * share


def estimate(samples: Iterable[tuple[int, Tensor]], count: int) -> tuple[Tensor, Tensor]:
    """Return mean and standard error, both (C,), of ``count`` samples that arrive in parts.

    Raises:
        NumericsError: A sample holds NaN or Inf, as after FP16 overflow.
    """
    totals: Tensor | None = None
    for sample, part in samples:
        if totals is None:
            totals = part.new_zeros(count, len(part))
        totals[sample] += part
    assert totals is not None
    broken = int((~totals.isfinite()).any(dim=1).sum())
    if broken:
        raise NumericsError(
            f"{broken} of {count} Hutchinson samples hold NaN or Inf; lower trace.scale, or use precision bf16 or fp32."
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
