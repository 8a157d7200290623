"""Whether an engine gives what the simulated network does: shown on examples."""

import torch
from torch import Tensor

from ehap.errors import ArchitectureError
from ehap.graph import INTEGER, Agreement, check_agreement
from ehap.quantization.simulation import SimulatedNetwork

SPREAD = 8
"""Images of an example, where none are given."""
FAR = 0.1
"""As INTEGER, for an image in which a rounding fell to the other side."""
OF_IMAGES = 2
"""One such image is allowed in so many."""


def spread_images(network: SimulatedNetwork, input_shape: tuple[int, int, int], count: int = SPREAD) -> Tensor:
    """Return random images (count, C, H, W) to show that an engine computes what a network does; always the same.

    Noise about another mean in each channel of each image, so that the outputs differ although they are means over
    positions. It reaches the ends of the network's input range and beyond.
    """
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(count, input_shape[0], 1, 1, generator=generator)
    noise = torch.randn(count, *input_shape, generator=generator)
    quantizers = network.activation_quantizers()
    if not quantizers:
        raise ArchitectureError("the network was used up by an export before; unpack it anew for another one.")
    first = quantizers[0]
    largest: Tensor = first.scale.detach() * (first.quant_max // 2)
    return largest / 2 * ((means + noise) / 2**0.5).to(largest.device)


@torch.no_grad()
def check_engine(found: Tensor, wanted: Tensor, what: str, advice: str = "", tolerance: float = INTEGER) -> Agreement:
    """Compare the outputs of an engine with those of the simulated network.

    Most images come out the same to many digits. Where a sum lies between two integers, an engine may round it to the
    other one: that moved outputs by up to 0.025 of the largest (14 trained and pruned ResNet-20s, 700 images each; the
    median image by less than 0.0001), of a ResNet-18 with random weights up to 0.028, on two of eight images. So half
    of the images may be off by more than the tolerance, up to FAR. An operation that an engine computes otherwise moves
    most images.

    Args:
        found: (N, ...), of the engine.
        wanted: Of the network.
        what: As for ``check_agreement``.
        advice: The same.
        tolerance: A share of the largest output.

    Returns:
        The agreement on all images.

    Raises:
        MismatchError: They differ.
    """
    agreement = check_agreement(found, wanted, max(tolerance, FAR), what, advice)
    distances = (found - wanted).abs().reshape(len(found), -1).amax(1)
    near = distances.argsort()[: len(found) - len(found) // OF_IMAGES]
    check_agreement(found[near], wanted[near], tolerance, what, advice)
    return agreement
