"""Observe the ranges of weights and activations; quantization grids follow from them."""

from typing import Any

import torch
from torch import Tensor

from ehap.quantization.pt2e import MovingAverageMinMaxObserver, PerChannelMinMaxObserver

SETTLED = 2**31
"""Number of batches after which the share 1/n of the next one is negligible."""


class RangeObserver(MovingAverageMinMaxObserver):  # type: ignore[misc]  # torchao ships no types
    """Range of a whole tensor over many batches.

    It is the mean of the batches' ranges. The n-th batch has the share max(1/n, averaging_constant): early batches
    count alike. While ``widening`` is set, it is the smallest and the largest value of all batches. After widening or
    ``settle()``, ranges move by averaging_constant alone.
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
        """Return whether the zero point lies on this grid."""
        return 0 <= zero_point <= int(self.quant_max)

    def restart(self) -> None:
        """Treat the next batch as the first one."""
        self.batches.zero_()

    def settle(self) -> None:
        """Treat the present range as the mean of many batches."""
        self.batches.fill_(SETTLED)

    def _moved(self, old: Tensor, new: Tensor, share: Tensor) -> Tensor:
        first = (self.batches == 1) | ~old.isfinite()
        return torch.where(first, new, old + share * (new - old))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        """Load; ranges saved without a number of batches are settled."""
        state_dict.setdefault(f"{prefix}batches", torch.full_like(self.batches, SETTLED))
        super()._load_from_state_dict(state_dict, prefix, *others)


class CentredObserver(RangeObserver):
    """A symmetric range on an unsigned grid with zero point 2^(bits-1)."""

    def fits(self, zero_point: int) -> bool:
        """Return whether the zero point lies on this grid."""
        return zero_point == (int(self.quant_max) + 1) // 2

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Return scale and zero point, one element each."""
        zero_point = (self.quant_max + 1) // 2
        largest = torch.maximum(-self.min_val, self.max_val)
        scale = torch.clamp(largest / (zero_point - 1), min=float(self.eps))
        return scale.reshape(1), torch.full((1,), zero_point, dtype=torch.int64, device=scale.device)


class PresentObserver(PerChannelMinMaxObserver):  # type: ignore[misc]  # torchao ships no types
    """Range of each channel at the present call: weights need no older ranges."""

    def forward(self, x: Tensor) -> Tensor:
        """Take the range of ``x`` (C_out, ...) and return it unchanged."""
        self.reset_min_max_vals()
        result: Tensor = super().forward(x)
        return result
