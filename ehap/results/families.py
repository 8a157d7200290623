"""Methods that belong together: those of one sweep, and those that differ in the drawn images only."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas

from ehap.settings.names import DENSE
from ehap.settings.sweeps import SWEPT, suffix

DRAW = "draw"


@dataclass(frozen=True)
class Families:
    """Families of methods, by the settings of their records.

    ends: Method to the ends of its name, one for each swept setting. draws: The same for draws alone.
    """

    ends: Mapping[str, frozenset[str]] = field(default_factory=dict)
    draws: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def family(self, method: str) -> str:
        """Return the name of a method's sweep, e.g. ``gate`` for ``gate-30``."""
        return _without(method, self.ends.get(method, frozenset()))

    def pooled(self, method: str) -> str:
        """Return a method's name without its draw of images: tables pool the draws."""
        return _without(method, self.draws.get(method, frozenset()))


def families(settings: pandas.DataFrame) -> Families:
    """Return the families of all methods.

    Args:
        settings: As ``collect`` returns them: stage, method, setting, value.
    """
    ends: dict[str, set[str]] = {}
    draws: dict[str, set[str]] = {}
    for stage, keys, _ in SWEPT:
        rows = settings[(settings["stage"] == stage) & settings["setting"].isin(keys) & settings["value"].notna()]
        for method, key, value in rows[["method", "setting", "value"]].itertuples(index=False, name=None):
            end = suffix(key, value if stage == "prune" else int(value))  # a column of numbers makes floats of counts
            ends.setdefault(method, set()).add(end)
            if key == DRAW:
                draws.setdefault(method, set()).add(end)
    return Families(*({method: frozenset(each) for method, each in found.items()} for found in (ends, draws)))


def colours_of(values: pandas.DataFrame, known: Families) -> dict[str, int]:
    """Return family to the number of its colour, in the order of the records; the dense network first.

    Args:
        values: As ``collect`` returns them.
        known: Families of the methods.
    """
    named = [known.family(str(method)) for method in values["method"].unique() if method and method != DENSE]
    return {name: index for index, name in enumerate(dict.fromkeys([DENSE, *named]))}


def _without(method: str, ends: frozenset[str]) -> str:
    """Return a name without those of its ends."""
    while end := next((end for end in ends if method.endswith(end) and method != end), ""):
        method = method.removesuffix(end)
    return method
