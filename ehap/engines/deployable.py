"""A pruned network with plain sums and padded widths, as engines execute it."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from ehap.errors import PlanError
from ehap.graph.channels import Kept, channel_graph
from ehap.pruning import prune
from ehap.pruning.padding import Placement, expanded, placements
from ehap.quantization.packing import Packed, unpack
from ehap.quantization.simulation import SimulatedNetwork
from ehap.settings import Scheme


@dataclass(frozen=True)
class Widening:
    """How a pruned network becomes a wider one without unions that computes the same.

    dense: The dense network.
    kept: Layer to the channels that the pruned network keeps.
    wide: Layer to the channels of the wider network; they include those of ``kept``.

    Raises:
        PlanError: They do not.
    """

    dense: nn.Module
    kept: Kept
    wide: Kept

    def __post_init__(self) -> None:
        lacking = [name for name, channels in self.kept.items() if not set(channels) <= set(self.wide.get(name, ()))]
        if lacking:
            raise PlanError(f"{', '.join(lacking)}: the wider network lacks channels that the plan keeps; keep them.")

    def architecture(self) -> nn.Module:
        """Return the wider network in eval mode; its weights are those of the dense network."""
        return prune(self.dense, self.wide).eval()

    def places(self) -> dict[str, Placement]:
        """Return where the weights of each pruned layer lie in the wider network."""
        return placements(self.dense, self.kept, self.wide)


def widening(dense: nn.Module, kept: Kept | None, round_to: int = 1) -> Widening:
    """Return the smallest widening without unions.

    Args:
        dense: The dense network.
        kept: Layer to kept channels; None where nothing is pruned.
        round_to: Widths are raised to multiples of it, as far as a layer has channels.

    Raises:
        PlanError: ``kept`` belongs to another network.
        ArchitectureError: The network has an operation that pruning does not know.
    """
    if kept is None:
        kept = {name: list(range(width)) for name, width in channel_graph(dense).widths().items()}
    return Widening(dense, kept, expanded(dense, kept, round_to))


def deployable(
    packed: Packed,
    widened: Widening,
    scheme: Scheme,
    input_shape: tuple[int, int, int],
    layer_bits: Mapping[str, int] | None = None,
) -> SimulatedNetwork:
    """Return packed integers as a wider simulated network, ready for the export to an engine.

    Args:
        packed: Result of ``pack`` for the pruned network.
        widened: Result of ``widening``.
        scheme: The scheme of the packed network.
        input_shape: (C, H, W) of one image.
        layer_bits: See ``prepare_qat``.

    Raises:
        CheckpointError: The integers belong to another network.
        PlanError: The plan belongs to another network.
    """
    whole = widen(packed, widened.places())
    return unpack(whole, widened.architecture(), scheme, input_shape, layer_bits)


def widen(packed: Packed, places: Mapping[str, Placement]) -> Packed:
    """Return the integers of a wider network that computes the same; all other weights are zero.

    Args:
        packed: Result of ``pack``.
        places: Layer to its place, as ``ehap.pruning.placements`` returns them.
    """
    wide = {name: tensor for name, tensor in packed.items() if name.startswith("activations.")}
    for layer, place in places.items():
        rows = torch.tensor(place.rows)
        weight = packed[f"{layer}.weight"]
        whole = weight.new_zeros(*place.size, *weight.shape[2:])
        whole[rows[:, None], torch.tensor(place.columns)] = weight
        scale = packed[f"{layer}.weight_scale"]
        scales = scale.new_full((place.size[0],), scale.max().item())
        bias = packed[f"{layer}.bias"].new_zeros(place.size[0])
        scales[rows], bias[rows] = scale, packed[f"{layer}.bias"]
        wide |= {f"{layer}.weight": whole, f"{layer}.weight_scale": scales, f"{layer}.bias": bias}
    return wide
