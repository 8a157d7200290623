"""Range checks that settings share."""

import math
from numbers import Integral, Real
from typing import Literal

from ehap.errors import SettingsError

Precision = Literal["fp32", "fp16", "bf16"]


def at_least(name: str, value: float | None, low: float) -> None:
    """Raise unless ``value`` is None or finite and at least ``low``."""
    _number(name, value)
    if value is not None and not (math.isfinite(value) and value >= low):
        raise SettingsError(f"{name} must be at least {low:g}, got {value:g}.")


def _number(name: str, value: object) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, Real)):
        raise SettingsError(f"{name} must be a number, got {value!r:.60}.")


def count(name: str, value: int, low: int) -> None:
    """Raise unless ``value`` is a whole number and at least ``low``."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise SettingsError(f"{name} must be a whole number, got {value!r}.")
    at_least(name, value, low)


def positive(name: str, value: float) -> None:
    """Raise unless ``value`` is finite and above zero."""
    _number(name, value)
    if not (math.isfinite(value) and value > 0):
        raise SettingsError(f"{name} must be above 0, got {value:g}.")


def share(name: str, value: float | None, *, zero: bool, one: bool) -> None:
    """Raise unless ``value`` is None or lies in [0, 1]; ``zero`` and ``one`` say whether the ends count."""
    _number(name, value)
    if value is None:
        return
    inside = 0 < value < 1 or (zero and value == 0) or (one and value == 1)
    if not inside:
        interval = f"{'[' if zero else '('}0, 1{']' if one else ')'}"
        raise SettingsError(f"{name} must lie in {interval}, got {value:g}.")
