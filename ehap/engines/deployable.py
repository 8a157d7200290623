"""A pruned network with plain sums and padded widths, as engines execute it."""

from collections.abc import Mapping

import torch
from torch import nn

from ehap.pruning.widening import Placement, placements, widened
from ehap.quantization.packing import Packed, unpack
from ehap.quantization.simulation import SimulatedNetwork
from ehap.settings.scheme import Scheme


def deployable(
    packed: Packed,
    network: nn.Module,
    scheme: Scheme,
    input_shape: tuple[int, int, int],
    layer_bits: Mapping[str, int] | None = None,
    round_to: int = 1,
) -> SimulatedNetwork:
    """Return packed integers as a wider simulated network without unions, ready for the export to an engine.

    Args:
        packed: Result of ``pack`` for the pruned network.
        network: The pruned network in floating point; its weights do not matter.
        scheme: The scheme of the packed network.
        input_shape: (C, H, W) of one image.
        layer_bits: See ``prepare_qat``.
        round_to: Widths are raised to multiples of it, see ``widened``.

    Raises:
        CheckpointError: The integers belong to another network.
        ArchitectureError: The network has an operation that pruning does not know.
    """
    whole = widen(packed, placements(network, round_to))
    return unpack(whole, widened(network, round_to).eval(), scheme, input_shape, layer_bits)


def widen(packed: Packed, places: Mapping[str, Placement]) -> Packed:
    """Return the integers of a wider network that computes the same; all other weights are zero.

    Args:
        packed: Result of ``pack``.
        places: Layer to its place, as ``placements`` returns them.
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
