"""Settings of the prune stage."""

from dataclasses import dataclass
from typing import Literal, get_args

from ehap.errors import SettingsError
from ehap.settings.checks import count, share
from ehap.settings.trace import Curvature, Trace

Criterion = Literal[
    "trace", "diagonal", "block", "gate", "fisher", "taylor", "magnitude", "bn-scale", "random"
]  # those of Curvature, and three that need no images
BUDGETS = ("prune_ratio", "params", "flops")  # the ways to say how much; one kind replaces another
HOW_MUCH = (*BUDGETS, "fill")
FROM_CURVATURE: tuple[str, ...] = get_args(Curvature)


@dataclass(frozen=True, kw_only=True)
class Prune:
    """How channels are ranked and how many go.

    criterion: trace = the paper's sensitivity (Eq. 8); diagonal, block, gate, fisher, taylor: see ``trace.criteria``;
        magnitude = mean squared weight; bn-scale = |γ| of the BatchNorm behind the channel (network slimming, Liu
        et al. 2017, arXiv:1708.06519); random = a seeded draw.
    with_magnitude: Scores are the geometric mean of the criterion's and the mean squared weight.
    normalise: lamp divides each score by the sum of the scores in its layer that are no smaller (Lee et al. 2021,
        arXiv:2010.07611), which balances layers; none is the paper's.
    residual: union = residual branches are pruned independently, a stream carries what any branch writes (HAP's);
        tied = all writers of a stream keep the same channels, their scores are added (dependency-graph pruners').
    prune_ratio: Share of the channels in the global ranking that is removed (the paper's way to say how much).
    params, flops: Budgets: what remains / what there was. Give prune_ratio, or one budget, or both budgets.
    fill: Of two budgets. first = channels go in the order of the ranking until both are met, which usually leaves room
        in one of them; both = scores of a layer are divided by a power, between -1 and 1, of the positions of its map,
        such that both are used up, or nearly: with a positive power large maps lose more, and FLOPs go rather than
        parameters. A block that names a budget of its own names its fill, too.
    prune_ratio_limit: A layer loses at most this share of its channels.
    min_channels: A layer keeps at least so many channels, or all that it has.
    round_to: Widths of layers are rounded up to multiples of it, as far as a layer has channels. With residual union a
        stream carries what any branch writes, of any width; tied rounds streams, too, and so does ``deploy.round_to``.
    rounds: The channels go in so many rounds, with the scores of what is left computed anew in each (exact traces
        only).
    weights: new = the pruned network starts from new weights and trains as ``pretrain`` says, for the epochs of both
        stages, with what the method's own ``finetune`` says: what the architecture alone is worth.
    rule: as_published removes channels as the published code does, its slips included: one channel more, the limit by
        a threshold that keeps channel 0 where it leaves none, and unions in the order of a Python set.
    """

    criterion: Criterion
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
    weights: Literal["kept", "new"] = "kept"
    rule: Literal["exact", "as_published"] = "exact"

    def __post_init__(self) -> None:
        if self.criterion not in get_args(Criterion):
            raise SettingsError(f"criterion: expected one of {', '.join(get_args(Criterion))}, got {self.criterion!r}.")
        share("prune_ratio", self.prune_ratio, zero=True, one=False)
        share("params", self.params, zero=False, one=True)
        share("flops", self.flops, zero=False, one=True)
        share("prune_ratio_limit", self.prune_ratio_limit, zero=True, one=True)
        count("min_channels", self.min_channels, 1)
        count("round_to", self.round_to, 1)
        count("rounds", self.rounds, 1)
        if (self.prune_ratio is None) == (self.params is None and self.flops is None):
            raise SettingsError(
                "give either prune_ratio (share of channels removed) or a budget, params, flops or both (shares kept), "
                f"got prune_ratio={self.prune_ratio}, params={self.params} and flops={self.flops}."
            )
        if self.fill == "both" and (self.params is None or self.flops is None):
            raise SettingsError(
                f"fill both is about two budgets, got params={self.params} and flops={self.flops}; give both, or say "
                "fill: first."
            )
        if self.rounds > 1 and self.criterion not in FROM_CURVATURE:
            raise SettingsError(
                f"rounds: the scores of criterion {self.criterion} stay what they are; expected 1, got {self.rounds}."
            )
        if self.with_magnitude and self.criterion == "magnitude":
            raise SettingsError("with_magnitude is for another criterion than magnitude itself.")
        own = (self.with_magnitude, self.normalise, self.residual, self.min_channels, self.round_to, self.rounds)
        plain = own == (False, "none", "union", 1, 1, 1)
        if self.rule == "as_published" and (self.prune_ratio is None or not plain):
            raise SettingsError(
                "rule as_published knows prune_ratio and prune_ratio_limit only; leave out budgets, "
                "with_magnitude, normalise, residual, min_channels, round_to and rounds."
            )


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """What pruning in several rounds takes; a run puts it together.

    prune: Settings of the prune stage.
    trace: How each round is scored.
    """

    prune: Prune
    trace: Trace
