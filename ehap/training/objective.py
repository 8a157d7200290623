"""The losses of a training step."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from ehap.runtime.device import precision_context
from ehap.settings.checks import Precision

Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From a batch's inputs (N, C, H, W), logits (N, C) and labels (N,) to the loss."""


def true_labels(_: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy with the true labels."""
    return cross_entropy(logits, targets)


class Distillation:
    """Cross-entropy with the true labels, mixed with the divergence from a teacher's answers to the same inputs.

    (1 − weight) · CE + weight · T² · KL(softmax(teacher / T) ‖ softmax(logits / T)); T² keeps the gradients' size.

    Args:
        teacher: On the device of the inputs; set to eval mode, otherwise unchanged.
        weight: Weight of the teacher, 0 to 1.
        temperature: T.
        precision: Precision of the teacher's forward pass.

    Source: Hinton, Vinyals, Dean 2015, Distilling the Knowledge in a Neural Network, arXiv:1503.02531.
    """

    def __init__(self, teacher: nn.Module, weight: float, temperature: float, precision: Precision) -> None:
        self._teacher = teacher.eval()
        self._weight, self._temperature, self._precision = weight, temperature, precision

    def __call__(self, inputs: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a batch."""
        with torch.no_grad(), precision_context(self._precision, inputs.device):
            wanted = self._teacher(inputs).float()
        found, wanted = (log_softmax(each / self._temperature, 1) for each in (logits, wanted))
        divergence = kl_div(found, wanted, reduction="batchmean", log_target=True) * self._temperature**2
        return (1 - self._weight) * cross_entropy(logits, targets) + self._weight * divergence
