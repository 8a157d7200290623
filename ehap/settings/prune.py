"""Settings of the prune stage."""

from dataclasses import dataclass, fields

from ehap.errors import SettingsError
from ehap.settings.budget import BUDGETS, HOW_MUCH, Budget, Limits, Ranking
from ehap.settings.checks import count
from ehap.settings.criteria import FROM_CURVATURE, check_criterion
from ehap.settings.trace import Trace

__all__ = ["BUDGETS", "HOW_MUCH", "OwnCriterion", "Prune", "Rounds"]


@dataclass(frozen=True, kw_only=True)
class Prune(Limits, Budget, Ranking):
    """How channels are ranked, and how many are removed.

    criterion: A name from the table [criteria](#criteria), or ``package.module:function`` for a function of your own.
        config/README.md describes such a function.
    with_magnitude: Scores are the geometric mean of the criterion's score and the mean squared weight.
    rounds: Number of rounds. Each round removes a part of the channels and computes the scores of the rest anew. More
        than one needs a curvature of estimator exact.
    reinitialize: true = the pruned network gets new random weights. It trains with the settings of ``pretrain`` for the
        epochs of both stages; the method's own ``finetune`` settings win. This measures the architecture alone.
    """

    criterion: str
    with_magnitude: bool = False
    rounds: int = 1
    reinitialize: bool = False

    def __post_init__(self) -> None:
        check_criterion(self.criterion)
        for part in (Limits, Budget, Ranking):
            part.__post_init__(self)
        count("rounds", self.rounds, 1)
        if self.rounds > 1 and self.criterion not in FROM_CURVATURE:
            raise SettingsError(
                f"rounds must be 1 for criterion {self.criterion}, got {self.rounds}: its scores do not change from "
                "round to round."
            )
        if self.with_magnitude and self.criterion == "magnitude":
            raise SettingsError("with_magnitude needs another criterion than magnitude itself.")
        own = (self.with_magnitude, self.balance, self.residual, self.min_channels, self.round_to, self.rounds)
        plain = own == (False, "none", "union", 1, 1, 1)
        if self.rule == "as_published" and (self.prune_ratio is None or not plain):
            raise SettingsError(
                "rule as_published has prune_ratio and prune_ratio_limit only; leave out budgets, with_magnitude, "
                "balance, residual, min_channels, round_to and rounds."
            )

    @property
    def parts(self) -> tuple[Budget, Limits, Ranking]:
        """What the planner takes: the budget, the limits and the ranking."""
        kinds = (Budget, Limits, Ranking)
        budget, limits, ranking = ({each.name: getattr(self, each.name) for each in fields(kind)} for kind in kinds)
        return Budget(**budget), Limits(**limits), Ranking(**ranking)


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
