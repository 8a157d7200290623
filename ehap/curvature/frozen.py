"""A private copy of a network to differentiate: eval mode, BatchNorm folded, gradients in channel weights only."""

import copy

from torch import Tensor, nn

from ehap.errors import ArchitectureError
from ehap.models import channels_last_
from ehap.models.folding import FoldedConv, fold_norms

Layer = FoldedConv | nn.Conv2d | nn.Linear


def channel_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights whose rows are channels: those of convolutions and linear layers, by parameter name."""
    return {
        f"{name}.weight": module.weight
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    }


def frozen_copy(model: nn.Module, channels_last: bool = True) -> tuple[nn.Module, dict[str, Layer]]:
    """Return a copy in eval mode and its layers, under the names and in the order of the original's.

    Where each BatchNorm stands directly behind a convolution it becomes a fixed factor on that convolution's weight
    and a bias, in the graph: derivatives in the weights stay the same, feature maps are passed over once less.
    Only channel weights require a gradient.

    Raises:
        ArchitectureError: A BatchNorm has no running statistics: in eval mode, too, it mixes the images of a batch; or
            a weight is not a parameter of its own.
    """
    for name, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)) and "weight" not in module._parameters:
            raise ArchitectureError(
                f"{name}: its weight is computed from other parameters (weight normalisation or the like); make it a "
                "plain one first, e.g. by torch.nn.utils.parametrize.remove_parametrizations."
            )
    quiet = copy.deepcopy(model).eval()
    for name, module in quiet.named_modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.running_mean is None:
            raise ArchitectureError(f"{name}: expected BatchNorm with running statistics (track_running_stats=True).")
    try:
        twin: nn.Module = fold_norms(quiet)
    except Exception:  # torch.fx raises whatever the code of a network that it cannot trace raises
        twin = quiet
    every = dict(quiet.named_modules()) | dict(twin.named_modules())  # a layer that is never called is not traced
    names = [name.removesuffix(".weight") for name in channel_weights(model)]
    if not all(isinstance(every[name], (FoldedConv, nn.Conv2d, nn.Linear)) for name in names):
        twin, every = quiet, dict(quiet.named_modules())  # the traced network holds the weight only, not its layer
    layers: dict[str, Layer] = {}
    for name in names:
        found = every[name]
        assert isinstance(found, (FoldedConv, nn.Conv2d, nn.Linear))
        layers[f"{name}.weight"] = found
    for module in (twin, *layers.values()):
        module.eval().requires_grad_(False)
        if channels_last:
            channels_last_(module)
    for layer in layers.values():
        geometry(layer).weight.requires_grad_()
    return twin, layers


def geometry(layer: Layer) -> nn.Conv2d | nn.Linear:
    """Return the convolution or linear layer itself."""
    return layer.conv if isinstance(layer, FoldedConv) else layer
