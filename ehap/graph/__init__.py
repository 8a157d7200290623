"""Proof that what was read off a network, made of it or exported from it computes what it should."""

from ehap.graph.reading import check_reading, evaluating, example_images, outputs_of
from ehap.graph.verification import FLOAT, INTEGER, Agreement, check_agreement, tolerance_of

__all__ = [
    "FLOAT",
    "INTEGER",
    "Agreement",
    "check_agreement",
    "check_reading",
    "evaluating",
    "example_images",
    "outputs_of",
    "tolerance_of",
]
