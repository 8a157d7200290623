"""From channel scores to a smaller network."""

from ehap.pruning.plan import PruningPlan
from ehap.pruning.planner import Planner, plan
from ehap.pruning.scores import Scores, bn_scale, geometric_mean, lamp, magnitude, random_scores, sensitivity
from ehap.pruning.surgery import mask_, prune
from ehap.pruning.widening import Placement, placements, widened

__all__ = [
    "Placement",
    "Planner",
    "PruningPlan",
    "Scores",
    "bn_scale",
    "geometric_mean",
    "lamp",
    "magnitude",
    "mask_",
    "placements",
    "plan",
    "prune",
    "random_scores",
    "sensitivity",
    "widened",
]
