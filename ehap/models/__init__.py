"""The networks of the paper."""

from ehap.models.registry import MODELS, build_model
from ehap.models.resnet import BasicBlock, ResNet, initialise_

__all__ = ["MODELS", "BasicBlock", "ResNet", "build_model", "initialise_"]
