"""A network trained towards the answers of another one, on images without labels."""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ehap.data import Normalised
from ehap.errors import ArgumentError, SettingsError
from ehap.graph.layout import channels_last_
from ehap.graph.reading import EXAMPLES, evaluating, output_of
from ehap.graph.tracing import copied
from ehap.graph.union import unions_by_matrix
from ehap.interface.arguments import Images, checked_network, gathered
from ehap.repair.distillation import distill as distilled
from ehap.settings import Reconstruct
from ehap.settings.checks import count

Augment = Literal["crop and mirror", "crop"]
LEAST = 2


def distill(
    network: nn.Module,
    teacher: nn.Module,
    images: Images,
    *,
    steps: int = 300,
    learning_rate: float = 0.005,
    momentum: float = 0.9,
    weight_decay: float = 1e-3,
    batch_size: int = 128,
    temperature: float = 2.0,
    warmup: float = 0.1,
    augment: Augment | None = "crop and mirror",
    padding: Sequence[float] | None = None,
    seed: int = 0,
) -> nn.Module:
    """Return the network trained towards the teacher's answers to the same images, by SGD, without labels.

    The learning rate falls to zero on a cosine. BatchNorm's statistics are trained, too.

    Args:
        network: The student, in eval mode: pruned, or the result of ``prepare_qat`` after ``eval()``; not changed.
        teacher: The network to learn from, in eval mode, on the same device and in the same type; not changed.
        images: Normalised images (N, C, H, W), without labels, at least 2: a tensor or an iterable of batches, on any
            device.
        steps: Number of SGD steps, rounded to whole passes over the images, at least one pass.
        learning_rate: Largest learning rate.
        momentum: As in torch.optim.SGD.
        weight_decay: As in torch.optim.SGD; it applies to all parameters.
        batch_size: Images a step.
        temperature: Temperature of the softmax of both networks.
        warmup: Share of the passes over which the learning rate grows.
        augment: "crop and mirror" pads each image with an eighth of its side, crops it at a random place and mirrors
            half of the images, anew in each pass. Take "crop" where a mirrored image is of another class, as with
            digits. None leaves images as they are.
        padding: Value of each channel around a cropped image, usually that of black. Left out, it is the smallest value
            of the channel over all images.
        seed: Seed of shuffling and augmentation.

    Returns:
        A new network of the same class, in eval mode.

    Raises:
        ArgumentError: A network is no module or in train mode, they differ in device or type, or the student has no
            parameter to train; or augment or padding is of another kind.
        SettingsError: A number is out of its range.
        DataError: There are too few images, they have another shape or type, or the networks have other classes.
        ArchitectureError: A network is in half precision or does not give one tensor.
        NumericsError: A pixel, an answer or the loss is NaN or infinite.

    Source: Hinton, Vinyals, Dean 2015, arXiv:1503.02531.

    >>> import torch, ehap
    >>> conv, flat, fc = torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.Linear(8 * 36, 10)
    >>> model, images = torch.nn.Sequential(conv, torch.nn.ReLU(), flat, fc).eval(), torch.randn(64, 3, 8, 8)
    >>> plan = ehap.plan(model, ehap.channel_scores(model, images), ehap.Budget(params=0.5), example=images[:2])
    >>> pruned = ehap.prune(model, plan)
    >>> student = ehap.distill(pruned, teacher=model, images=images, steps=50, learning_rate=0.05, augment=None)
    >>> error = lambda network: (network(images) - model(images)).norm()
    >>> bool(error(student) < error(pruned))
    True
    """
    count("steps", steps, 1)
    count("seed", seed, 0)
    if torch.is_inference_mode_enabled():
        raise ArgumentError("distill: called inside torch.inference_mode, which knows no gradients; leave it.")
    settings = Reconstruct(
        distill_steps=steps,
        learning_rate=learning_rate,
        momentum=momentum,
        weight_decay=weight_decay,
        batch_size=batch_size,
        temperature=temperature,
        warmup=warmup,
    )
    inputs = _checked(network, teacher, images)
    info = _info(inputs, augment, padding)
    student, parent = (channels_last_(copied(each)) for each in (network, teacher))
    with unions_by_matrix(student), torch.enable_grad():
        distilled(parent, student, inputs, info, settings, seed)
    found = copied(network)  # its convolutions are as they were; channels_last_ replaces some on a CPU
    found.load_state_dict(student.state_dict())
    return found.eval()


def _checked(network: nn.Module, teacher: nn.Module, images: Images) -> Tensor:
    """Return the images on the networks' device."""
    both = {"network": network, "teacher": teacher}
    for name, each in both.items():
        checked_network(each, name, "distill", quantized=True)
    first, second = (next(each.parameters()) for each in both.values())
    if (first.device, first.dtype) != (second.device, second.dtype):
        raise ArgumentError(
            f"distill: expected network and teacher on one device and in one type, got {first.dtype} on "
            f"{first.device} and {second.dtype} on {second.device}."
        )
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ArgumentError("distill: no parameter of network requires gradients; call network.requires_grad_(True).")
    inputs = gathered(images, network, "distill", LEAST)
    for name, each in both.items():
        with evaluating(each), torch.no_grad():
            output_of(each, inputs[:EXAMPLES], name)  # a clear error for images of another shape
    return inputs


def _info(images: Tensor, augment: Augment | None, padding: Sequence[float] | None) -> Normalised:
    """Return how images (N, C, H, W) vary in training.

    Raises:
        ArgumentError: There is no such augmentation, or padding has another length.
        SettingsError: padding has no effect.
    """
    if augment is not None and augment not in get_args(Augment):
        names = ", ".join(repr(name) for name in get_args(Augment))
        raise ArgumentError(f"distill: expected augment to be one of {names} or None, got {augment!r}.")
    if padding is None:
        black = images.amin((0, 2, 3)).double().tolist()
    elif augment is None:
        raise SettingsError("padding needs augment: without it no image is cropped; leave padding out.")
    else:
        black = torch.as_tensor(padding, dtype=torch.float64).flatten().tolist()
        if len(black) != images.shape[1] or not all(map(math.isfinite, black)):
            raise ArgumentError(
                f"distill: expected padding with a finite value for each of {images.shape[1]} channels, got {black}."
            )
    return Normalised(padding=tuple(black), crop=augment is not None, flip=augment == "crop and mirror")
