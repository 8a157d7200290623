"""Proof by example that traced, pruned and exported networks compute the right outputs."""

from ehap.graph.reading import (
    answers_of,
    check_answers,
    check_reading,
    evaluating,
    example_images,
    output_of,
    without_tf32,
)
from ehap.graph.verification import FLOAT, INTEGER, Agreement, check_agreement, tolerance_of

__all__ = [
    "FLOAT",
    "INTEGER",
    "Agreement",
    "answers_of",
    "check_agreement",
    "check_answers",
    "check_reading",
    "evaluating",
    "example_images",
    "output_of",
    "tolerance_of",
    "without_tf32",
]
