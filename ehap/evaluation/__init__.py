"""Accuracy and size of a network."""

from ehap.evaluation.accuracy import accuracy
from ehap.evaluation.counts import flops, parameters

__all__ = ["accuracy", "flops", "parameters"]
