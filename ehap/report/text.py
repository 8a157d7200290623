"""Numbers as the page writes them."""

from math import nan

from ehap.results import format as formatting
from ehap.results.format import PAGE

MISSING = PAGE.missing


def number(value: float, unit: str, spread: float = nan, sign: bool = False) -> str:
    """Return a number in the style of the page; see ``ehap.results.format.number``."""
    return formatting.number(value, unit, spread, sign=sign, style=PAGE)
