"""The verdict on a difference from the paper: within both spreads, above or below."""

from math import isnan
from typing import Literal

Verdict = Literal["", "within", "above", "below"]


def verdict(difference: float, ours: float, paper: float) -> Verdict:
    """Judge a difference by the root of both squared standard deviations.

    Args:
        difference: Ours less the paper's.
        ours: Standard deviation over seeds; NaN for a single seed.
        paper: The same of the paper; NaN where it prints none.

    Returns:
        Empty where one of the three is NaN.
    """
    if isnan(difference) or isnan(ours) or isnan(paper):
        return ""
    spread = (ours**2 + paper**2) ** 0.5
    if abs(difference) <= spread:
        return "within"
    return "above" if difference > 0 else "below"
