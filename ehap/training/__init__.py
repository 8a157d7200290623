"""Training a network on a dataset."""

from ehap.training.loop import Epoch, fit

__all__ = ["Epoch", "fit"]
