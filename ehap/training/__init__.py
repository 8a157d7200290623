"""Training a network on a dataset."""

from ehap.training.frozen_norms import FrozenNorms
from ehap.training.loop import Epoch, State, fit
from ehap.training.objective import Distillation, Objective, true_labels
from ehap.training.recalibration import RECALIBRATION_IMAGES, recalibrate_

__all__ = [
    "RECALIBRATION_IMAGES",
    "Distillation",
    "Epoch",
    "FrozenNorms",
    "Objective",
    "State",
    "fit",
    "recalibrate_",
    "true_labels",
]
