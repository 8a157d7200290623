"""A network trained towards the answers of another one, on images without labels."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ehap.data import DatasetInfo, ImageInfo, normalise, plain_batches
from ehap.errors import DataError, NumericsError, SettingsError
from ehap.runtime.checkpointing import NO_CHECKPOINTS, Checkpointer
from ehap.runtime.progress import logger
from ehap.settings import Reconstruct, Training
from ehap.settings.machine import Step
from ehap.training.loop import Epoch, fit
from ehap.training.objective import Distillation


def distill(
    dense: nn.Module,
    network: nn.Module,
    images: Tensor,
    info: ImageInfo,
    settings: Reconstruct,
    seed: int,
    checkpointer: Checkpointer = NO_CHECKPOINTS,
    step: Step = "eager",
) -> list[Epoch]:
    """Train ``network`` in place towards the outputs of ``dense`` for cropped and mirrored images; return the history.

    The number of steps is rounded to whole passes over the images, at least one, and so are those of the warm-up.

    Args:
        dense: The teacher, on the device of the images; in eval mode afterwards.
        network: The student, on the same device; in eval mode afterwards.
        images: (N, 3, H, W) uint8, N ≥ 2: raw pixels, which are normalised here; or (N, C, H, W) in floating point,
            where ``info`` says that they are normalised.
        info: The dataset's normalisation and whether to mirror.
        settings: distill_steps, learning_rate, warmup, temperature and the fields of Training.
        seed: Seed of shuffling and augmentation.
        checkpointer: Keeps a state only when it is due, unlike in ``fit``: passes over few images are short.
        step: How a step is launched; see Machine.

    Returns:
        One entry for each pass over the images. train_accuracy is the share, in percent, of equal predictions: the
        student's during the pass on cropped and mirrored images, the teacher's on the original images. test_accuracy
        is NaN, since nothing is tested. See ``agreement`` for the network at the end.

    Raises:
        DataError: There are fewer than two images, they are of another form, or the networks tell other classes apart.
        NumericsError: The answers of the dense network or the loss are NaN or infinite.
        SettingsError: There is no step to take.
    """
    raw = isinstance(info, DatasetInfo)
    if raw and (images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3):  # noqa: PLR2004
        raise DataError(
            f"expected images of shape (N, 3, H, W) as raw pixels, uint8, got {tuple(images.shape)} of {images.dtype}."
        )
    if len(images) < 2:  # noqa: PLR2004
        raise DataError(f"expected at least 2 images to learn from, got {len(images)}.")
    if not settings.distill_steps:
        raise SettingsError("distill_steps must be at least 1 to distill, got 0.")
    _check_alike(dense.eval(), network.eval(), normalise(images[:2], info))
    objective = Distillation(dense, 1.0, settings.temperature, settings.precision)
    training = passes(settings, len(images))
    if settings.warmup and not training.warmup_epochs:
        logger.warning("distill_steps are %d pass over the images: there is no warm-up", training.epochs)
    answers = _answers(dense, images, info, "dense")
    return fit(
        *(network, (images, answers), info, training, seed, lambda _: math.nan, "distillation"),
        checkpointer=_WhenDue(checkpointer),
        step=step,
        objective=objective,
    )


def agreement(dense: nn.Module, network: nn.Module, images: Tensor, info: ImageInfo) -> float:
    """Return for how many of the images, in percent, two networks in eval mode give the same class.

    Raises:
        NumericsError: An answer of one of them is NaN or infinite.
    """
    same = _answers(dense, images, info, "dense") == _answers(network, images, info, "other")
    return 100 * same.double().mean().item()


class _WhenDue:
    """A Checkpointer that takes a state only when one is due."""

    def __init__(self, checkpointer: Checkpointer) -> None:
        self._checkpointer = checkpointer
        self.read, self.due = checkpointer.read, checkpointer.due

    def write(self, state: Any) -> None:
        """Keep a state if one is due."""
        if self._checkpointer.due():
            self._checkpointer.write(state)


def passes(settings: Reconstruct, images: int) -> Training:
    """Return the training of so many steps as passes over ``images`` images."""
    batch_size = min(settings.batch_size, images)
    epochs = max(1, round(settings.distill_steps / math.ceil(images / batch_size)))
    return Training(
        epochs=epochs,
        learning_rate=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        batch_size=batch_size,
        precision=settings.precision,
        warmup_epochs=min(math.ceil(settings.warmup * epochs), epochs - 1),
    )


@torch.no_grad()
def _check_alike(dense: nn.Module, network: nn.Module, images: Tensor) -> None:
    """Refuse networks that cannot learn from each other, before the first step."""
    try:
        wanted, found = dense(images.clone()), network(images.clone())  # a network may write over its input
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise DataError(
            f"expected networks that take images of shape {tuple(images.shape[1:])}, but {error}"
        ) from error
    if wanted.ndim != 2 or found.ndim != 2:  # noqa: PLR2004
        raise DataError(
            f"expected networks that give logits (N, classes), got {tuple(wanted.shape)} of the dense one and "
            f"{tuple(found.shape)} of the other."
        )
    if wanted.shape != found.shape:
        raise DataError(
            f"expected networks that tell the same classes apart, got {wanted.shape[1]} of the dense one and "
            f"{found.shape[1]} of the other."
        )


@torch.no_grad()
def _answers(network: nn.Module, images: Tensor, info: ImageInfo, which: str) -> Tensor:
    """Return the class (N,) that a network gives each image, after a check that it gives any."""
    unlabelled = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    outputs = torch.cat([network(inputs) for inputs, _ in plain_batches(images, unlabelled, info)])
    broken = int((~outputs.isfinite()).any(1).sum())
    if broken:
        raise NumericsError(
            f"expected finite answers of the {which} network, but those to {broken} of {len(images)} images are NaN or "
            "infinite."
        )
    return outputs.argmax(1)
