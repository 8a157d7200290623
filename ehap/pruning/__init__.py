"""From channel scores to a smaller network."""

from ehap.pruning.plan import PruningPlan, plan
from ehap.pruning.sensitivity import Scores, magnitude, random_scores, sensitivity
from ehap.pruning.surgery import UnionAdd, mask_, prune

__all__ = ["PruningPlan", "Scores", "UnionAdd", "magnitude", "mask_", "plan", "prune", "random_scores", "sensitivity"]
