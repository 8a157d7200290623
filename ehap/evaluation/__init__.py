"""Accuracy, size and latency of a network."""

from ehap.evaluation.accuracy import accuracy
from ehap.evaluation.counts import flops, parameters
from ehap.evaluation.latency import each_turn, in_turns

__all__ = ["accuracy", "each_turn", "flops", "in_turns", "parameters"]
