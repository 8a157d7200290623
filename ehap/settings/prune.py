"""Settings of the prune stage."""

from dataclasses import dataclass
from typing import Literal

from ehap.errors import SettingsError
from ehap.settings.checks import count, share
from ehap.settings.criteria import FROM_CURVATURE, check_criterion
from ehap.settings.trace import Trace

BUDGETS = ("prune_ratio", "params", "flops")  # how much is removed; one kind replaces another
HOW_MUCH = (*BUDGETS, "fill")


@dataclass(frozen=True, kw_only=True)
class Prune:
    """How channels are ranked, and how many are removed.

    criterion: A name from the table [criteria](#criteria), or ``package.module:function`` for a function of your own.
        config/README.md describes such a function.
    with_magnitude: Scores are the geometric mean of the criterion's score and the mean squared weight.
    normalise: none = scores as they are, as in the paper. lamp = each score is divided by the sum of the scores in its
        layer that are no smaller (Lee et al. 2021, arXiv:2010.07611). This balances the layers.
    residual: union = residual branches are pruned independently, and a stream carries the union of their channels, as
        in HAP. tied = all writers of a stream keep the same channels and their scores are added,
        as in pruners by dependency graphs.
    prune_ratio: Share of all ranked channels that is removed, as in the paper.
    params, flops: Budgets: share of the dense network's parameters or FLOPs that is kept. Give prune_ratio, one budget,
        or both budgets.
    fill: For two budgets. first = channels are removed in the order of the ranking until both budgets are met; one of
        them is then usually not used up. both = both budgets are nearly used up: scores of a layer are divided by a
        power of the number of positions of its feature map. The power lies between -1 and 1. A positive power removes
        more channels of large maps, and so FLOPs rather than parameters. A block with a budget of its own also needs a
        fill of its own.
    prune_ratio_limit: Largest share of its channels that a layer loses.
    min_channels: Smallest number of channels that a layer keeps; a layer with fewer keeps all.
    round_to: Widths of layers are rounded up to multiples of this number, up to the dense width. With residual union a
        stream may have any width; tied rounds streams, too. ``deploy.round_to`` does as well.
    rounds: Number of rounds. Each round removes a part of the channels and computes the scores of the rest anew. More
        than one needs a curvature of estimator exact.
    reinitialize: true = the pruned network gets new random weights. It trains with the settings of ``pretrain`` for the
        epochs of both stages; the method's own ``finetune`` settings win. This measures the architecture alone.
    rule: exact = removes exactly the wanted channels. as_published = removes channels as the published code does, with
        its faults: one channel more, the limit by a threshold that keeps channel 0 where it leaves none, and unions in
        the order of a Python set.
    """

    criterion: str
    with_magnitude: bool = False
    normalise: Literal["none", "lamp"] = "none"
    residual: Literal["union", "tied"] = "union"
    prune_ratio: float | None = None
    params: float | None = None
    flops: float | None = None
    fill: Literal["first", "both"] = "first"
    prune_ratio_limit: float = 0.95
    min_channels: int = 1
    round_to: int = 1
    rounds: int = 1
    reinitialize: bool = False
    rule: Literal["exact", "as_published"] = "exact"

    def __post_init__(self) -> None:
        check_criterion(self.criterion)
        share("prune_ratio", self.prune_ratio, zero=True, one=False)
        share("params", self.params, zero=False, one=True)
        share("flops", self.flops, zero=False, one=True)
        share("prune_ratio_limit", self.prune_ratio_limit, zero=True, one=True)
        count("min_channels", self.min_channels, 1)
        count("round_to", self.round_to, 1)
        count("rounds", self.rounds, 1)
        if (self.prune_ratio is None) == (self.params is None and self.flops is None):
            raise SettingsError(
                "give either prune_ratio (share of channels removed) or a budget (params, flops or both; shares kept), "
                f"got prune_ratio={self.prune_ratio}, params={self.params} and flops={self.flops}."
            )
        if self.fill == "both" and (self.params is None or self.flops is None):
            raise SettingsError(
                f"fill both needs two budgets, got params={self.params} and flops={self.flops}; give both, or write "
                "fill: first."
            )
        if self.rounds > 1 and self.criterion not in FROM_CURVATURE:
            raise SettingsError(
                f"rounds must be 1 for criterion {self.criterion}, got {self.rounds}: its scores do not change from "
                "round to round."
            )
        if self.with_magnitude and self.criterion == "magnitude":
            raise SettingsError("with_magnitude needs another criterion than magnitude itself.")
        own = (self.with_magnitude, self.normalise, self.residual, self.min_channels, self.round_to, self.rounds)
        plain = own == (False, "none", "union", 1, 1, 1)
        if self.rule == "as_published" and (self.prune_ratio is None or not plain):
            raise SettingsError(
                "rule as_published has prune_ratio and prune_ratio_limit only; leave out budgets, with_magnitude, "
                "normalise, residual, min_channels, round_to and rounds."
            )


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """Settings of pruning in several rounds; a run puts them together.

    prune: Settings of the prune stage.
    trace: Settings of the scores of each round.
    """

    prune: Prune
    trace: Trace


@dataclass(frozen=True, kw_only=True)
class OwnCriterion:
    """Settings of pruning by a function of your own; a run puts them together.

    prune: Settings of the prune stage.
    batch_size: Images of the Hessian batch, ``trace.batch_size``; 0 where the function takes no images.
    """

    prune: Prune
    batch_size: int
