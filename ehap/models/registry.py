"""The models by name."""

from functools import partial

import torch
from torch import nn

from ehap.errors import SettingsError
from ehap.models.resnet import ResNet, initialise_

MODELS = {
    "resnet20": partial(ResNet, 3),
    "resnet32": partial(ResNet, 5),
    "resnet56": partial(ResNet, 9),
    "wrn28_8": partial(ResNet, 4, widening=8),
}


def build_model(name: str, classes: int, seed: int | None = None) -> nn.Module:
    """Return a new network in train mode.

    Args:
        name: A key of MODELS.
        classes: Number of logits.
        seed: Seed of the initial weights. With None they stay uninitialised: load weights next.

    Raises:
        SettingsError: The name is unknown.
    """
    if name not in MODELS:
        raise SettingsError(f"unknown model {name!r}; expected one of {', '.join(MODELS)}.")
    with torch.device("meta"):
        model = MODELS[name](classes=classes)
    model = model.to_empty(device="cpu")
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    if seed is not None:
        initialise_(model, torch.Generator().manual_seed(seed))
    return model
