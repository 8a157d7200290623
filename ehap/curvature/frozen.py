"""A private copy of a network to differentiate: eval mode, BatchNorm folded, gradients in channel weights only."""

from collections.abc import Collection
from dataclasses import dataclass

from torch import nn

from ehap.errors import ArchitectureError
from ehap.graph.folding import FoldedConv, fold_norms, folded_norms
from ehap.graph.layers import layer_weights
from ehap.graph.layout import channels_last_
from ehap.graph.tracing import check_readable, copied

Layer = FoldedConv | nn.Conv2d | nn.Linear


def check_plain_weights(model: nn.Module) -> None:
    """Raise ArchitectureError if a layer's weight is no parameter: such a network cannot be copied, either."""
    for name, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)) and "weight" not in module._parameters:
            raise ArchitectureError(
                f"{name}: its weight is computed from other parameters (weight normalisation or the like); make it a "
                "plain one first, e.g. by torch.nn.utils.parametrize.remove_parametrizations."
            )


@dataclass(frozen=True)
class Frozen:
    """A private copy of a network, for derivatives.

    network: The copy, in eval mode. layers: Layers with channel weights, named and ordered as in the original.
    ends: Path of a layer to that of the last BatchNorm that is part of it; of layers that have one.
    loose_norms: Paths of the BatchNorms that have a part in the network, but not as part of a convolution.
    """

    network: nn.Module
    layers: dict[str, Layer]
    ends: dict[str, str]
    loose_norms: tuple[str, ...]


def frozen_copy(model: nn.Module, channels_last: bool = True) -> Frozen:
    """Return a copy in eval mode and its layers.

    Where each BatchNorm directly follows a convolution, it becomes a fixed factor on that convolution's weight
    and a bias, in the graph: derivatives in the weights stay the same, feature maps are passed over once less.
    Only channel weights require a gradient.

    Raises:
        ArchitectureError: A BatchNorm has no running statistics: in eval mode, too, it mixes the images of a batch; a
            weight is not a parameter of its own; or the network is in a wrapper or the like, see ``check_readable``.
    """
    check_readable(model)
    check_plain_weights(model)
    quiet = copied(model).eval()
    for name, module in quiet.named_modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.running_mean is None:
            raise ArchitectureError(f"{name}: expected BatchNorm with running statistics (track_running_stats=True).")
    try:
        folded = fold_norms(quiet)
    except ArchitectureError:
        twin: nn.Module = quiet
        inside: dict[str, str] = {}
    else:
        twin, inside = folded, folded_norms(folded)
    every = dict(quiet.named_modules()) | dict(twin.named_modules())  # a layer that is never called is not traced
    names = list(layer_weights(model))
    if not all(isinstance(every[name], (FoldedConv, nn.Conv2d, nn.Linear)) for name in names):
        # The traced network holds the weight only, not its layer.
        twin, inside, every = quiet, {}, dict(quiet.named_modules())
    layers: dict[str, Layer] = {}
    for name in names:
        found = every[name]
        assert isinstance(found, (FoldedConv, nn.Conv2d, nn.Linear))
        layers[name] = found
    for module in (twin, *layers.values()):
        module.eval().requires_grad_(False)
        if channels_last:
            channels_last_(module)
    for layer in layers.values():
        geometry(layer).weight.requires_grad_()
    ends = {layer: norm for norm, layer in inside.items()}  # in forward order: the last one counts
    return Frozen(twin, layers, ends, _loose_norms(quiet, twin, inside))


def _loose_norms(quiet: nn.Module, twin: nn.Module, inside: Collection[str]) -> tuple[str, ...]:
    """Return the BatchNorms that the network still uses and that are not part of a convolution.

    A subclass with a forward pass of its own leaves its parameters in the graph, not its module.
    """
    left = set(twin.state_dict()) | {name for name, _ in twin.named_modules()}
    return tuple(
        name
        for name, module in quiet.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        and name not in inside
        and any(item == name or item.startswith(f"{name}.") for item in left)
    )


def geometry(layer: Layer) -> nn.Conv2d | nn.Linear:
    """Return the convolution or linear layer itself."""
    return layer.conv if isinstance(layer, FoldedConv) else layer
