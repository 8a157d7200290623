"""From channel scores to a smaller network."""

from ehap.pruning.channels import PruningPlan
from ehap.pruning.expansion import Placement, expanded, lay_into_, placements
from ehap.pruning.least_squares import LayerFit
from ehap.pruning.plan import Planner, plan
from ehap.pruning.reconstruction import Reconstruction, reconstruct
from ehap.pruning.sensitivity import (
    Scores,
    bn_scale,
    geometric_mean,
    lamp,
    layer_weights,
    magnitude,
    random_scores,
    sensitivity,
)
from ehap.pruning.surgery import mask_, prune
from ehap.pruning.union import UnionAdd, unions_by_matrix

__all__ = [
    "LayerFit",
    "Placement",
    "Planner",
    "PruningPlan",
    "Reconstruction",
    "Scores",
    "UnionAdd",
    "bn_scale",
    "expanded",
    "geometric_mean",
    "lamp",
    "lay_into_",
    "layer_weights",
    "magnitude",
    "mask_",
    "placements",
    "plan",
    "prune",
    "random_scores",
    "reconstruct",
    "sensitivity",
    "unions_by_matrix",
]
