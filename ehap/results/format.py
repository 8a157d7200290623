"""Numbers, counts, durations and names, as tables and the page write them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ehap.settings.names import DATASETS, MODELS

SYMBOLS = {"percent": "%", "percentage points": "points"}
SHORT_S, SHORT_MIN, LONG_H = 90, 120, 48
"""Below these a duration is written in seconds, in minutes, in hours."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """How one kind of document writes numbers.

    scales: Unit of a record to the unit shown and the factor between them.
    digits: Shown unit to decimals.
    usual: Decimals of a unit that ``digits`` lacks; None: none for whole numbers, else one.
    separator: Between thousands. minus: The sign. space: Between number and unit. missing: Stands for NaN.
    """

    scales: Mapping[str, tuple[str, float]]
    digits: Mapping[str, int | None]
    usual: int | None = None
    separator: str = ""
    minus: str = "-"
    space: str = " "
    missing: str = ""


TABLE = Style(
    scales={"bytes": ("KB", 1e3), "flop": ("GFLOP", 1e9), "memory": ("GB", 1e9)},
    digits={"GB": 3, "GFLOP": 4, "KB": 1, "parameters": 0, "samples": 0, "images": None, "operators": None},
    usual=2,
)
PAGE = Style(
    scales={"bytes": ("KB", 1e3), "flop": ("MFLOP", 1e6), "memory": ("MB", 1e6)},
    digits={"percent": 2, "percentage points": 2, "s": 1, "ms": 2, "KB": 1, "MB": 0, "MFLOP": 1},
    separator=",",
    minus="−",
    space="\u00a0",
    missing="–",
)


def number(value: float, unit: str, spread: float = math.nan, *, sign: bool = False, style: Style = TABLE) -> str:
    """Return a number with its spread and unit, e.g. ``88.47 ± 0.25 %``.

    Args:
        value: In ``unit``. NaN gives the style's sign for a missing number.
        unit: A record's unit; ``memory`` for bytes of memory; empty for a bare count.
        spread: Standard deviation in the same unit; left out for NaN.
        sign: Whether a plus is shown.
        style: Style of the document.
    """
    if math.isnan(value):
        return style.missing
    shown, factor = style.scales.get(unit, (unit, 1.0))
    digits = style.digits.get(shown, style.usual)
    if digits is None:
        digits = 0 if float(value).is_integer() else 1  # a mean of counts need not be whole
    text = f"{value / factor:{'+' if sign else ''}{style.separator}.{digits}f}".replace("-", style.minus)
    if not math.isnan(spread):
        text += f" ± {spread / factor:{style.separator}.{digits}f}"
    return f"{text}{style.space}{SYMBOLS.get(shown, shown)}".rstrip()


def counted(count: float, noun: str) -> str:
    """Return a count with its noun, e.g. ``1 epoch``."""
    return f"{int(count)} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a time span, e.g. ``45 s``, ``12 min``, ``3 h 20 min`` or ``4 d 2 h``."""
    minutes = round(seconds / 60)
    if seconds < SHORT_S:
        return f"{seconds:.0f} s"
    if minutes < SHORT_MIN:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest:02d} min" if hours < LONG_H else f"{hours // 24} d {hours % 24} h"


def dataset_title(dataset: object) -> str:
    """Return the usual name of a dataset, e.g. ``CIFAR-10``; an unknown one is unchanged."""
    return DATASETS.get(str(dataset), str(dataset))


def model_title(model: object) -> str:
    """Return the usual name of a model, e.g. ``ResNet-20``; an unknown one is unchanged."""
    return MODELS.get(str(model), str(model))


def cell_name(dataset: object, model: object) -> str:
    """Return a network and its data, e.g. ``ResNet-20 on CIFAR-10``."""
    return f"{model_title(model)} on {dataset_title(dataset)}"


def network_name(dataset: object, model: object) -> str:
    """Return the same in short, e.g. ``ResNet-20, CIFAR-10``."""
    return f"{model_title(model)}, {dataset_title(dataset)}"
