"""Check of a network and a Hessian batch, before long work."""

import torch
from torch import Tensor, nn

from ehap.curvature.frozen import check_plain_weights
from ehap.errors import ArchitectureError, DataError, NumericsError
from ehap.graph import output_of
from ehap.graph.layers import layer_weights
from ehap.graph.tracing import check_readable, copied


@torch.no_grad()
def checked_batch(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the labels in int64, if the network takes the batch.

    Images are finite, and each has, alone, one row of logits and one label.

    Args:
        model: Any mode; it is not changed.
        images: (N, 3, H, W), normalised.
        labels: (N,) of any integer type.

    Raises:
        DataError: Images or labels are of another type or shape than the network takes, or there are none.
        ArchitectureError: The network cannot be read, has no layers, or mixes the images of a batch.
        NumericsError: A weight or a logit is NaN or infinite.
    """
    check_readable(model)
    check_plain_weights(model)
    if not isinstance(images, Tensor) or not isinstance(labels, Tensor) or not images.is_floating_point():
        kinds = [str(each.dtype) if isinstance(each, Tensor) else type(each).__name__ for each in (images, labels)]
        raise DataError(
            f"expected tensors, images normalised in floating point and labels in int64, got {' and '.join(kinds)}."
        )
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise DataError(
            f"expected labels as whole numbers, in int64, got {labels.dtype}; give labels.long() if they are classes."
        )
    labels = labels.long()
    if not len(images) or not images.isfinite().all():
        raise DataError(
            f"expected a Hessian batch of finite images, got {len(images)} images, some NaN or none at all."
        )
    if not layer_weights(model):
        raise ArchitectureError("expected a network with at least one convolution or linear layer.")
    broken = [name for name, tensor in model.state_dict().items() if not tensor.isfinite().all()]
    if broken:
        raise NumericsError(f"{broken[0]} holds NaN or Inf; expected a network whose training did not diverge.")
    quiet, pair = copied(model).eval(), images[:2]
    together, alone = output_of(quiet, pair), [output_of(quiet, image.unsqueeze(0)) for image in pair]
    if together.dim() != 2:  # noqa: PLR2004 (images, classes)
        raise ArchitectureError(f"expected logits of shape (images, classes), got {tuple(together.shape)}.")
    apart = torch.cat(alone)
    if together.shape != apart.shape or not torch.allclose(together, apart, 1e-2, 1e-3 * float(apart.abs().max())):
        raise ArchitectureError(
            "expected a network in which images of a batch do not influence each other in eval mode; the logits of two "
            "images together are not those of each alone."
        )
    classes = together.shape[1]
    if labels.shape != images.shape[:1] or bool((labels < 0).any()) or bool((labels >= classes).any()):
        span = f" from {int(labels.min())} to {int(labels.max())}" if labels.numel() else ""
        raise DataError(
            f"expected one label from 0 to {classes - 1} for each of {len(images)} images, got labels of shape "
            f"{tuple(labels.shape)}{span}."
        )
    return labels
