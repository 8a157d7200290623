"""Ranges of weights and activations, and the grids that follow from them."""

from typing import Any

import torch
from torch import Tensor

from ehap.quantization.pt2e import MovingAverageMinMaxObserver, PerChannelMinMaxObserver

SETTLED = 2**31  # batches: of so many the next one alone has no share


class RangeObserver(MovingAverageMinMaxObserver):  # type: ignore[misc]  # torchao ships no types
    """Smallest and largest value of a whole tensor over many batches.

    Means of the batches' ranges: the n-th batch has the share max(1/n, averaging_constant), so that the first one
    counts like those after it. While ``widening``, the smallest and the largest value of all batches. Ranges that were
    widened or ``settle``d move by averaging_constant alone.
    """

    batches: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self.widening = False

    def forward(self, x: Tensor) -> Tensor:
        """Take the range of ``x`` and return it unchanged."""
        if x.numel():
            low, high = torch.aminmax(x.detach().to(self.min_val.dtype))
            if self.widening:
                low, high = torch.minimum(self.min_val, low), torch.maximum(self.max_val, high)
                self.settle()
            else:
                self.batches += 1
                share = (1 / self.batches).clamp(min=self.averaging_constant)
                low, high = (self._moved(*each, share) for each in ((self.min_val, low), (self.max_val, high)))
            self.min_val.copy_(low)
            self.max_val.copy_(high)
        return x

    def fits(self, zero_point: int) -> bool:
        """Return whether a zero point is one of this grid."""
        return 0 <= zero_point <= int(self.quant_max)

    def restart(self) -> None:
        """Let the next batch be the first one."""
        self.batches.zero_()

    def settle(self) -> None:
        """Let the present range count like one of many batches."""
        self.batches.fill_(SETTLED)

    def _moved(self, old: Tensor, new: Tensor, share: Tensor) -> Tensor:
        first = (self.batches == 1) | ~old.isfinite()
        return torch.where(first, new, old + share * (new - old))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        """Load; ranges that were kept without their number of batches are settled."""
        state_dict.setdefault(f"{prefix}batches", torch.full_like(self.batches, SETTLED))
        super()._load_from_state_dict(state_dict, prefix, *others)


class CentredObserver(RangeObserver):
    """A range as a symmetric grid stored unsigned: zero point 2^(bits-1)."""

    def fits(self, zero_point: int) -> bool:
        """Return whether a zero point is one of this grid."""
        return zero_point == (int(self.quant_max) + 1) // 2

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Return scale and zero point, one element each."""
        zero_point = (self.quant_max + 1) // 2
        largest = torch.maximum(-self.min_val, self.max_val)
        scale = torch.clamp(largest / (zero_point - 1), min=float(self.eps))
        return scale.reshape(1), torch.full((1,), zero_point, dtype=torch.int64, device=scale.device)


class PresentObserver(PerChannelMinMaxObserver):  # type: ignore[misc]  # torchao ships no types
    """Minimum and maximum of each channel at this very call: weights need no memory of older ranges."""

    def forward(self, x: Tensor) -> Tensor:
        """Take the range of ``x`` (C_out, ...) and return it unchanged."""
        self.reset_min_max_vals()
        result: Tensor = super().forward(x)
        return result
