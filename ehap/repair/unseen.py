"""Error of a repaired network on images that were held out."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ehap.errors import DataError
from ehap.runtime.device import precision_context
from ehap.runtime.progress import logger

MOST_UNSEEN, LEAST_FITTED = 128, 2
ROUNDING = 1e-8  # an error below it is none
CHUNK_PIXELS = 2**17  # of a pass: 128 images of 32 x 32, two of 224 x 224


@dataclass(frozen=True)
class Unseen:
    """The relative error of a pruned network before and after its repair, on images that were not fitted.

    images: Their number. before, after: See ``relative_error``.
    """

    images: int
    before: float
    after: float


@dataclass(frozen=True)
class Split:
    """Indices of the images to fit, in their order, and indices of the images that judge."""

    fitted: Tensor
    judging: Tensor

    def shown(self) -> Tensor:
        """Return the indices of the images for ``relative_error``: first the judging ones, then others up to 128."""
        return torch.cat([self.judging, self.fitted])[:MOST_UNSEEN]


def split_images(count: int, held_out: float, seed: int) -> Split:
    """Draw the images that judge a repair.

    Args:
        count: Number of images.
        held_out: Share that judges, in [0, 1): rounded down, at least one image and at most 128; 0 leaves none.
        seed: Seed of the draw.

    Raises:
        DataError: Fewer than two images are left to fit, or the share lies outside.
    """
    if not 0 <= held_out < 1:
        raise DataError(f"expected held_out, the share of the images that judges, in [0, 1), got {held_out:g}.")
    judging = min(MOST_UNSEEN, max(1, int(held_out * count))) if held_out else 0
    if count - judging < LEAST_FITTED:
        besides = f" and {judging} held out to judge by (held_out={held_out:g}; 0 fits all)" if judging else ""
        raise DataError(f"expected at least 2 images to fit layers to, got {count - judging}{besides}.")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return Split(order[judging:].sort().values, order[:judging].sort().values)


@torch.no_grad()
def relative_error(dense: nn.Module, network: nn.Module, images: Tensor, judging: int) -> float:
    """Return the mean squared error of a network's outputs / the variance of the dense network's.

    Args:
        dense: The dense network, in eval mode, on the device of the images.
        network: The pruned one, likewise.
        images: (N, C, H, W), as the networks take them. The variance is of each output over all of them.
        judging: Number of images, from the first on, whose error is taken.

    Returns:
        0 where the outputs are equal; 1 where they are as good as the dense network's means. Rounding alone gives equal
        outputs a small variance; a variance below it is raised to it.
    """
    with precision_context("fp32", images.device):
        wanted, found = _outputs(dense, images), _outputs(network, images[:judging])
    error = (found - wanted[:judging]).square().mean()
    rounding = torch.finfo(images.dtype).eps ** 2 * wanted.square().mean()
    variance = (wanted - wanted.mean(0)).square().mean().maximum(rounding)
    return (error / variance.clamp_min(torch.finfo(torch.float64).tiny)).item()


def warn_if_worse(unseen: Unseen, work: str, advice: str) -> None:
    """Say in the log that a repair has made a network worse, where it has."""
    if not unseen.after <= max(unseen.before, ROUNDING):  # nor where outputs are NaN
        logger.warning(
            "the %s made the network worse on %d images that it had not seen: relative error of the outputs "
            "%.1f %% -> %.1f %%; %s",
            *(work, unseen.images, 100 * unseen.before, 100 * unseen.after, advice),
        )


def _outputs(network: nn.Module, images: Tensor) -> Tensor:
    """Return the outputs for all images, (N, …) in float64."""
    size = max(1, CHUNK_PIXELS // images[0, 0].numel())
    # a copy: a network may overwrite its input
    return torch.cat([network(chunk.clone()).double() for chunk in images.split(size)])
