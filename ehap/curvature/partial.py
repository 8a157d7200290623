"""Parts of a computation of channel traces, which several jobs may share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ehap.errors import DataError, NumericsError


@dataclass(frozen=True)
class Partial:
    """Results of a job, in rows that are merged before they are summed, so that sharing changes no bit.

    first: Number of the first row among all rows of the computation; of: Number of all rows.
    rows: Criterion to (R, C) float64, C channels of all layers in order. hutchinson: a row for each sample;
        the trace is their mean. exact: a row for each chunk of images; the score is their sum.
    sketch: Criterion to (R, 2, C) float64, only of exact with a sketch: the sum over images of the sketch's
        contribution, and the sum of its squares.
    repeated: Products that were not finite and were repeated at a lower scale: one a micro-batch of a sample and try.
    seconds, peak_memory_bytes: Its cost.
    proofs: See ChannelTraces.
    """

    first: int
    of: int
    rows: Mapping[str, Tensor]
    sketch: Mapping[str, Tensor] = field(default_factory=dict)
    repeated: int = 0
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    proofs: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.rows.values())))


def merge(parts: Sequence[Partial]) -> Partial:
    """Return the merged parts; seconds add up, as if one job had done all.

    Raises:
        DataError: A part is missing or given twice.
    """
    ordered = sorted(parts, key=lambda part: (part.first, len(part)))  # a part may be empty
    expected = 0
    for part in ordered:
        if part.first != expected or part.of != ordered[0].of:
            raise DataError(f"expected a part that begins at row {expected} of {ordered[0].of}, got {part.first}.")
        expected += len(part)
    if expected != ordered[0].of:
        raise DataError(f"expected parts with {ordered[0].of} rows in all, got {expected}.")
    return Partial(
        first=0,
        of=expected,
        rows={name: torch.cat([part.rows[name] for part in ordered]) for name in ordered[0].rows},
        sketch={name: torch.cat([part.sketch[name] for part in ordered]) for name in ordered[0].sketch},
        repeated=sum(part.repeated for part in ordered),
        seconds=sum(part.seconds for part in ordered),
        peak_memory_bytes=max(part.peak_memory_bytes for part in ordered),
        proofs={
            name: max(p.proofs[name] for p in ordered if name in p.proofs) for each in ordered for name in each.proofs
        },
    )


def sample_mean(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard error, both (C,), of samples (n, C); the error of a single sample is infinite.

    Raises:
        NumericsError: A sample holds NaN or Inf, as after FP16 overflow.
    """
    count = len(rows)
    broken = int((~rows.isfinite()).any(dim=1).sum())
    if broken:
        raise NumericsError(
            f"{broken} of {count} Hutchinson samples hold NaN or Inf; lower trace.scale or say dynamic, or use "
            "precision bf16 or fp32."
        )
    error = rows.std(0) / count**0.5 if count > 1 else torch.full_like(rows[0], float("inf"))
    return rows.mean(0), error


def image_sum(part: Partial, criterion: str, images: int) -> tuple[Tensor, Tensor]:
    """Return the sum of rows that chunks of images add to a score, and its standard error, both (C,).

    Without a sketch nothing is random and the error is zero. With a sketch the error is estimated from the spread of
    the sketch's contributions between images. This spread includes that of their means, so the estimate is an upper
    bound in expectation. A single image has no spread, and its error is infinite.

    Raises:
        NumericsError: A row holds NaN or Inf.
    """
    total = part.rows[criterion].sum(0)
    if not total.isfinite().all():
        raise NumericsError("the exact scores hold NaN or Inf; use precision bf16 or fp32, or check the network.")
    if criterion not in part.sketch:
        return total, torch.zeros_like(total)
    if images == 1:
        return total, torch.full_like(total, float("inf"))
    first, second = part.sketch[criterion].sum(0)
    spread = (second - first.square() / images).clamp_min(0) * images / (images - 1)
    return total, spread.sqrt()
