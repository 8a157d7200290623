"""Whether two forms of one network give the same answers: one function, one tolerance for each precision."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ehap.errors import MismatchError

FLOAT, INTEGER = 1e-4, 0.02
"""The largest difference between two forms of a network, as a share of the largest output; of floats, of integers."""
HALF = 0.02
"""The same in FP16 and BF16, whose operations round to 11 and 8 bits."""
SMALLEST = 1e-30  # of a largest output: of zeros alone every difference counts


@dataclass(frozen=True)
class Agreement:
    """How well two forms of one network agree.

    difference: The largest difference, as a share of the largest output. mismatches: Images with another arg max.
    images: Number of compared images.
    """

    difference: float
    mismatches: int
    images: int


def tolerance_of(values: Tensor) -> float:
    """Return the tolerance for outputs in floating point of this type."""
    return HALF if values.dtype in (torch.float16, torch.bfloat16) else FLOAT


@torch.no_grad()
def check_agreement(found: Tensor, wanted: Tensor, tolerance: float, what: str, advice: str = "") -> Agreement:
    """Compare the outputs of two forms of one network.

    Args:
        found: Outputs (N, ...) of the checked form.
        wanted: Outputs of the reference form, of the same shape.
        tolerance: FLOAT, INTEGER, or the value of ``tolerance_of``.
        what: The checked form and the reference form, e.g. "the pruned network and the masked one".
        advice: Advice for the message, a sentence or empty.

    Raises:
        MismatchError: Shapes differ, an output is NaN or infinite, or a difference is larger than the tolerance.
    """
    if found.shape != wanted.shape:
        shapes = f"{tuple(found.shape)} and {tuple(wanted.shape)}"
        raise MismatchError(f"{what}: expected outputs of one shape, got {shapes}. {advice}".strip())
    first, second = found.detach().double().cpu(), wanted.detach().double().cpu()
    largest = max(float(second.abs().max()), SMALLEST) if second.numel() else 1.0
    difference = float((first - second).abs().max()) / largest if second.numel() else 0.0
    if not difference <= tolerance:  # NaN is no agreement either
        raise MismatchError(
            f"{what} give different outputs: off by {difference:.2g} of the largest output, at most {tolerance:g} is "
            f"allowed. {advice}".strip()
        )
    rows = first.shape[:1].numel()
    if first.dim() < 2 or not rows:  # noqa: PLR2004 (images, classes)
        return Agreement(difference, 0, rows)
    other = first.reshape(rows, -1).argmax(1) != second.reshape(rows, -1).argmax(1)
    return Agreement(difference, int(other.sum()), rows)
