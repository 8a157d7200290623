"""Proof that what was read off a network, made of it or exported from it computes what it should."""

from ehap.graph.verification import FLOAT, INTEGER, Agreement, check_agreement

__all__ = ["FLOAT", "INTEGER", "Agreement", "check_agreement"]
