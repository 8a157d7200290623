"""Settings of the prune stage."""

from dataclasses import dataclass
from typing import Literal

from ehap.errors import SettingsError
from ehap.settings.checks import share

Criterion = Literal["trace", "magnitude", "random"]


@dataclass(frozen=True, kw_only=True)
class Prune:
    """How channels are ranked and how many go.

    criterion: trace = the paper's sensitivity (Eq. 8), magnitude = mean squared weight, random = a seeded draw.
    prune_ratio: Share of the channels in the global ranking that is removed (the paper's way to say how much).
    params: Budget: remaining parameters / original parameters. Exactly one of prune_ratio and params is given.
    prune_ratio_limit: A layer loses at most this share of its channels.
    """

    criterion: Criterion
    prune_ratio: float | None = None
    params: float | None = None
    prune_ratio_limit: float = 0.95

    def __post_init__(self) -> None:
        share("prune_ratio", self.prune_ratio, zero=True, one=False)
        share("params", self.params, zero=False, one=True)
        share("prune_ratio_limit", self.prune_ratio_limit, zero=True, one=True)
        if (self.prune_ratio is None) == (self.params is None):
            raise SettingsError(
                "give exactly one of prune_ratio (share of channels removed) and params (share of parameters kept), "
                f"got prune_ratio={self.prune_ratio} and params={self.params}."
            )
