"""Training a network on a dataset."""

from ehap.training.loop import Epoch, State, fit

__all__ = ["Epoch", "State", "fit"]
