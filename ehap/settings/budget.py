"""How much of a network stays: the budget of a plan, its limits, and the order in which channels go."""

from dataclasses import dataclass
from typing import Literal

from ehap.errors import SettingsError
from ehap.settings.checks import count, share

BUDGETS = ("prune_ratio", "params", "flops")  # how much is removed; one kind replaces another
HOW_MUCH = (*BUDGETS, "fill")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much of a network is kept.

    prune_ratio: Share of all ranked channels that is removed, as in the paper.
    params, flops: Budgets: share of the dense network's parameters or FLOPs that is kept. Give prune_ratio, one budget,
        or both budgets.
    fill: For two budgets. first = channels are removed in the order of the ranking until both budgets are met; one of
        them is then usually not used up. both = both budgets are nearly used up: scores of a layer are divided by a
        power of the number of positions of its feature map. The power lies between -1 and 1. A positive power removes
        more channels of large maps, and so FLOPs rather than parameters. A block with a budget of its own also needs a
        fill of its own.

    >>> import ehap
    >>> ehap.Budget(params=0.3, flops=0.5, fill="both").flops
    0.5
    """

    prune_ratio: float | None = None
    params: float | None = None
    flops: float | None = None
    fill: Literal["first", "both"] = "first"

    def __post_init__(self) -> None:
        share("prune_ratio", self.prune_ratio, zero=True, one=False)
        share("params", self.params, zero=False, one=True)
        share("flops", self.flops, zero=False, one=True)
        if (self.prune_ratio is None) == (self.params is None and self.flops is None):
            raise SettingsError(
                "give either prune_ratio (share of channels removed) or a budget (params, flops or both; shares kept), "
                f"got prune_ratio={self.prune_ratio}, params={self.params} and flops={self.flops}."
            )
        if self.fill not in ("first", "both"):
            raise SettingsError(f"fill: expected first or both, got {self.fill!r}.")
        if self.fill == "both" and (self.params is None or self.flops is None):
            raise SettingsError(
                f"fill both needs two budgets, got params={self.params} and flops={self.flops}; give both, or write "
                "fill: first."
            )


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a plan leaves of each layer, whatever the scores.

    prune_ratio_limit: Largest share of its channels that a layer loses.
    min_channels: Smallest number of channels that a layer keeps; a layer with fewer keeps all.
    round_to: Widths of layers are rounded up to multiples of this number, up to the dense width. With residual union a
        stream may have any width; tied rounds streams, too. ``deploy.round_to`` does as well.

    >>> import ehap
    >>> ehap.Limits(min_channels=8).prune_ratio_limit
    0.95
    """

    prune_ratio_limit: float = 0.95
    min_channels: int = 1
    round_to: int = 1

    def __post_init__(self) -> None:
        if self.prune_ratio_limit is None:
            raise SettingsError("prune_ratio_limit must be a number, got None; 1 is no limit.")
        share("prune_ratio_limit", self.prune_ratio_limit, zero=True, one=True)
        count("min_channels", self.min_channels, 1)
        count("round_to", self.round_to, 1)


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The order in which channels are removed.

    balance: none = scores as they are, as in the paper. lamp = each score is divided by the sum of the scores in its
        layer that are no smaller (Lee et al. 2021, arXiv:2010.07611). This balances the layers.
    residual: union = residual branches are pruned independently, and a stream carries the union of their channels, as
        in HAP. tied = all writers of a stream keep the same channels and their scores are added,
        as in pruners by dependency graphs.
    rule: exact = removes exactly the wanted channels. as_published = removes channels as the published code does, with
        its faults: one channel more, the limit by a threshold that keeps channel 0 where it leaves none, and unions in
        the order of a Python set.
    """

    balance: Literal["none", "lamp"] = "none"
    residual: Literal["union", "tied"] = "union"
    rule: Literal["exact", "as_published"] = "exact"

    def __post_init__(self) -> None:
        for name, known in (
            ("balance", ("none", "lamp")),
            ("residual", ("union", "tied")),
            ("rule", ("exact", "as_published")),
        ):
            if getattr(self, name) not in known:
                raise SettingsError(f"{name}: expected {' or '.join(known)}, got {getattr(self, name)!r}.")
