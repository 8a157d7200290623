"""Arguments of the public functions: networks, images and labels, checked once before any work."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ehap.errors import ArchitectureError, ArgumentError, DataError, NumericsError

Images = Tensor | Iterable[Tensor | tuple[Tensor, Tensor] | list[Tensor]]
"""Normalised images in floating point, (N, C, H, W), on any device: one tensor, or batches as a DataLoader gives them.
Of a batch that is a pair the second part holds the labels (N,)."""

MAPS, VECTOR = 4, 1
PLAIN = (nn.Conv2d, nn.Linear)
"""Layers that compute the same in both modes, such as a new head."""
_NORMALISE = "convert pixels to floating point and normalise them as in the network's training"


def checked_network(
    network: object, name: str, function: str, evaluated: bool = True, quantized: bool = False
) -> nn.Module:
    """Return an argument that is a network with values, in floating point of at least 32 bits.

    Args:
        network: The argument.
        name: Its name in the signature.
        function: The public function, for messages.
        evaluated: Whether the function needs eval mode.
        quantized: Whether the network may be one that ``quantize`` or ``prepare_qat`` has made.

    Raises:
        ArgumentError: It is no module, in train mode (or a part is whose mode may matter), or quantized where it may
            not be.
        ArchitectureError: It has no parameters, no values, floats of several types, or is in half precision.
    """
    if not isinstance(network, nn.Module):
        raise ArgumentError(f"{function}: expected a torch.nn.Module as {name}, got {type(network).__name__}.")
    if is_quantized(network) and not quantized:
        raise ArgumentError(
            f"{function}: {name} is quantized already; give the network in floating point, from before quantize."
        )
    _check_mode(network, name, function, evaluated)
    tensors = dict(network.named_parameters())
    if not tensors:
        raise ArchitectureError(f"{function}: {name} ({type(network).__name__}) has no parameters.")
    for key, tensor in tensors.items():
        if tensor.is_meta:
            raise ArchitectureError(
                f"{function}: {key} of {name} has no values, on the meta device; load the network's weights first."
            )
        if tensor.dtype not in (torch.float32, torch.float64):
            raise ArchitectureError(
                f"{function}: {key} of {name} is in {tensor.dtype}, expected float32; give {name}.float()."
            )
    types = sorted({str(tensor.dtype) for tensor in tensors.values()})
    if len(types) > 1:
        raise ArchitectureError(f"{function}: {name} has parameters in {' and '.join(types)}; give {name}.float().")
    return network


def is_quantized(network: object) -> bool:
    """Return whether ``quantize`` or ``prepare_qat`` has made a network; without an import of torchao."""
    simulation = sys.modules.get("ehap.quantization.simulation")  # who has such a network has imported it
    return simulation is not None and isinstance(network, simulation.SimulatedNetwork)


def _check_mode(network: nn.Module, name: str, function: str, evaluated: bool) -> None:
    if not evaluated:
        return
    parts = [("", network)] if is_quantized(network) else network.named_modules()  # an exported graph has no modes
    odd = next((path for path, module in parts if module.training and not isinstance(module, PLAIN)), None)
    if odd is not None:
        where = f", of its part {odd}" if odd else ""
        raise ArgumentError(
            f"{function}: expected {name} in eval mode, got train mode{where}; call {name}.eval() first."
        )


def checked_path(path: object, function: str) -> Path:
    """Return an argument that names a file.

    Raises:
        ArgumentError: It is something else.
    """
    if not isinstance(path, (str, Path)):
        raise ArgumentError(f"{function}: expected the path of a file, got {type(path).__name__}.")
    return Path(path)


def gathered(images: object, network: nn.Module, function: str, least: int = 1) -> Tensor:
    """Return all images as one tensor (N, C, H, W) in the network's type and on its device; labels are left out.

    Args:
        images: See Images.
        network: A network that ``checked_network`` has returned.
        function: The public function, for messages.
        least: Smallest number of images.

    Raises:
        ArgumentError: They are no tensors.
        DataError: There are too few, or they have another shape or type.
        NumericsError: A pixel is NaN or infinite.
    """
    return _gathered(images, network, function, least)[0]


def gathered_with_labels(
    images: object, labels: object, network: nn.Module, function: str
) -> tuple[Tensor, Tensor | None]:
    """Return all images as ``gathered`` does, and their labels (N,) int64; None where none were given.

    Args:
        images: See Images; their own labels count where ``labels`` is left out.
        labels: (N,) of whole numbers, or None.
        network: See ``gathered``.
        function: See ``gathered``.

    Raises:
        ArgumentError, DataError, NumericsError: As ``gathered``; or the labels have another length or type.
    """
    found, of_batches = _gathered(images, network, function, 1)
    parts = of_batches if labels is None else [labels]
    if not parts:
        return found, None
    given = torch.cat([_checked_labels(each, function).to(found.device) for each in parts])
    if len(given) != len(found):
        raise DataError(f"{function}: expected a label for each of {len(found)} images, got {len(given)} labels.")
    return found, given


def _checked_labels(labels: object, function: str) -> Tensor:
    """Return labels (N,) as int64."""
    if not isinstance(labels, Tensor):
        raise ArgumentError(f"{function}: expected labels as a tensor (N,), got {type(labels).__name__}.")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool or labels.dim() != VECTOR:
        raise DataError(
            f"{function}: expected labels (N,) of whole numbers, the class of each image, got {tuple(labels.shape)} of "
            f"{labels.dtype}."
        )
    return labels.to(torch.int64)


@dataclass(frozen=True)
class _Batch:
    """Images (N, C, H, W), and their labels where they came with some."""

    images: Tensor
    labels: Tensor | None


def _gathered(images: object, network: nn.Module, function: str, least: int) -> tuple[Tensor, list[Tensor]]:
    """Return the images, and the labels of each batch where all have some."""
    like = next(network.parameters())
    batches = [_checked(batch, like, function) for batch in _batches(images, function)]
    shapes = {tuple(batch.images.shape[1:]) for batch in batches}
    if len(shapes) > 1:
        raise DataError(f"{function}: expected images of one shape in all batches, got {sorted(shapes)}.")
    count = sum(len(batch.images) for batch in batches)
    if count < least:
        wanted = "at least one image" if least == 1 else f"at least {least} images"
        raise DataError(f"{function}: expected {wanted}, got {count or 'none: an empty iterable or tensor'}.")
    found = torch.cat([batch.images.to(like.device) for batch in batches])
    if not bool(found.isfinite().all()):
        raise NumericsError(f"{function}: the images hold NaN or Inf; expected finite pixels.")
    labels = [batch.labels for batch in batches if batch.labels is not None]
    return found, labels if len(labels) == len(batches) else []


def _batches(images: object, function: str) -> Iterator[_Batch]:
    if isinstance(images, Tensor):
        yield _Batch(images, None)
        return
    if isinstance(images, (str, bytes)) or not isinstance(images, Iterable):
        raise ArgumentError(
            f"{function}: expected images as a tensor (N, C, H, W) or an iterable of such batches, got "
            f"{type(images).__name__}."
        )
    for batch in images:
        parts = list(batch) if isinstance(batch, (tuple, list)) else [batch]
        if not parts or not isinstance(parts[0], Tensor):
            what = type(parts[0] if parts else batch).__name__
            raise ArgumentError(
                f"{function}: expected batches of images as tensors (N, C, H, W), alone or with their labels, got "
                f"{what}; give torch.from_numpy(...) of an array."
            )
        second = parts[1] if len(parts) > 1 and isinstance(parts[1], Tensor) else None
        yield _Batch(parts[0], second)


def _checked(batch: _Batch, like: Tensor, function: str) -> _Batch:
    images = batch.images
    if not images.is_floating_point():
        raise DataError(f"{function}: expected normalised images in {like.dtype}, got {images.dtype}; {_NORMALISE}.")
    if images.dim() != MAPS:
        advice = "; give images[None] for a single one" if images.dim() == MAPS - 1 else ""
        raise DataError(f"{function}: expected images (N, C, H, W), got the shape {tuple(images.shape)}{advice}.")
    if images.dtype != like.dtype:
        raise DataError(
            f"{function}: expected images in {like.dtype}, as the network's weights, got {images.dtype}; give "
            f"images.to({like.dtype})."
        )
    if images.is_meta:
        raise DataError(f"{function}: the images have no values, on the meta device; give images with values.")
    return batch
