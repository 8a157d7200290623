"""Numbers and names as the page writes them."""

import math
import re

from ehap.settings.names import DATASETS, MODELS

UNITS = {"percent": "%", "percentage points": "points"}
DIGITS = {"percent": 2, "percentage points": 2, "s": 1, "ms": 2, "KB": 1, "MB": 0, "MFLOP": 1}
SCALES = {"bytes": ("KB", 1e3), "memory": ("MB", 1e6), "flop": ("MFLOP", 1e6)}
MISSING = "–"
A_MINUTE, AN_HOUR = 60, 3600


def number(value: float, unit: str, spread: float = math.nan, sign: bool = False) -> str:
    """Return a number with its spread and unit, e.g. ``88.47 ± 0.25 %``; a dash for NaN.

    Args:
        value: In ``unit``: that of a record, or ``memory`` for bytes of memory.
        unit: Where it counts something, whole numbers have no decimals.
        spread: In the same unit; not shown for NaN.
        sign: Whether a plus is shown.
    """
    if math.isnan(value):
        return MISSING
    shown, factor = SCALES.get(unit, (unit, 1.0))
    digits = DIGITS.get(shown, 0 if float(value).is_integer() else 1)  # a mean of counts need not be whole
    text = f"{value / factor:{'+' if sign else ''},.{digits}f}".replace("-", "−")
    if not math.isnan(spread):
        text += f" ± {spread / factor:,.{digits}f}"
    return f"{text}\u00a0{UNITS.get(shown, shown)}".rstrip()


def counted(count: float, what: str) -> str:
    """Return a count with its noun, e.g. ``1 epoch``."""
    return f"{int(count)} {what}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a time span, e.g. ``1 h 12 min``."""
    if seconds < A_MINUTE:
        return f"{seconds:.0f} s"
    minutes = round(seconds / A_MINUTE)
    return f"{minutes} min" if seconds < AN_HOUR else f"{minutes // 60} h {minutes % 60:02d} min"


def dataset_title(dataset: object) -> str:
    """Return a dataset's name as people write it, e.g. ``CIFAR-10``; one that is not known as it is."""
    return DATASETS.get(str(dataset), str(dataset))


def model_title(model: object) -> str:
    """Return a model's name as people write it, e.g. ``ResNet-20``; one that is not known as it is."""
    return MODELS.get(str(model), str(model))


def cell_name(dataset: object, model: object) -> str:
    """Return what a network is and sees, e.g. ``ResNet-20 on CIFAR-10``."""
    return f"{model_title(model)} on {dataset_title(dataset)}"


def family(method: str) -> str:
    """Return a method's name without the budget, images or draw that a sweep adds to it."""
    return re.sub(r"(-draw\d+|-images\d+|-\d+(_\d+)?)+$", "", method)


def pooled(method: str) -> str:
    """Return a method's name without its draw of images, as tables pool them."""
    return re.sub(r"-draw\d+$", "", method)


def network_name(dataset: object, model: object) -> str:
    """Return the same in short, e.g. ``ResNet-20, CIFAR-10``."""
    return f"{model_title(model)}, {dataset_title(dataset)}"
