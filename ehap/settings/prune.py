"""Settings of the prune stage."""

from dataclasses import dataclass

from ehap.errors import SettingsError
from ehap.settings.budget import Budget, Limits, Ranking, check_rule
from ehap.settings.checks import count
from ehap.settings.criteria import FROM_CURVATURE, check_criterion
from ehap.settings.trace import Trace

@dataclass(frozen=True, kw_only=True)
class Prune(Budget, Limits, Ranking):
    """How channels are scored and pruned.

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
        Budget.__post_init__(self)
        Limits.__post_init__(self)
        Ranking.__post_init__(self)
        count("rounds", self.rounds, 1)
        if self.rounds > 1 and self.criterion not in FROM_CURVATURE:
            raise SettingsError(
                f"rounds must be 1 for criterion {self.criterion}, got {self.rounds}: its scores do not change from "
                "round to round."
            )
        if self.with_magnitude and self.criterion == "magnitude":
            raise SettingsError("with_magnitude needs another criterion than magnitude itself.")
        check_rule(self, self, self, plain=self.rounds == 1 and not self.with_magnitude)


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
