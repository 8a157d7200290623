"""The networks of the paper."""

from ehap.models.registry import INPUT_SHAPE, MODELS, build_model
from ehap.models.resnet import BasicBlock, ResNet, initialise_

__all__ = ["INPUT_SHAPE", "MODELS", "BasicBlock", "ResNet", "build_model", "initialise_"]
