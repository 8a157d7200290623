"""The only training loop: pretraining, fine-tuning and quantization-aware training."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypedDict

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ehap.data import DatasetInfo, Split, training_batches
from ehap.errors import NumericsError
from ehap.runtime import logger, track
from ehap.settings import Training


@dataclass(frozen=True)
class Epoch:
    """What one epoch showed.

    epoch: Counts from 1. learning_rate: During the epoch. train_loss: Mean cross-entropy over the epoch's batches.
    train_accuracy, test_accuracy: Percent. seconds: Of training and testing.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    test_accuracy: float
    seconds: float


class State(TypedDict):
    """What a run needs to go on: of the model, the optimizer, the schedule, the generator; and the epochs so far."""

    model: dict[str, Any]
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    generator: Tensor
    history: list[dict[str, float]]


def fit(
    model: nn.Module,
    train: Split,
    info: DatasetInfo,
    settings: Training,
    seed: int,
    test: Callable[[nn.Module], float],
    label: str = "training",
    start: State | None = None,
    keep: Callable[[State], None] | None = None,
) -> list[Epoch]:
    """Train ``model`` in place by SGD with a cosine schedule and return the history.

    Args:
        model: On the device of the images; left in eval mode.
        train: Images (N, 3, H, W) uint8 and labels (N,) int64.
        info: The dataset's normalisation and whether to flip.
        settings: Epochs, learning rate, momentum, weight decay, batch size.
        seed: Of shuffling and augmentation; the same seed gives the same weights on a CPU with the same threads.
        test: Measures the accuracy in percent after every epoch.
        label: What the progress bar says.
        start: The state after some epoch, to go on from; on a CPU the weights become those of an unbroken run.
        keep: Called with the state after every epoch.

    Raises:
        NumericsError: The loss of an epoch is NaN or infinite.
    """
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=settings.nesterov and settings.momentum > 0,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs)
    generator = torch.Generator().manual_seed(seed)
    history: list[Epoch] = []
    if start is not None:
        model.load_state_dict(start["model"])
        optimizer.load_state_dict(start["optimizer"])
        schedule.load_state_dict(start["schedule"])
        generator.set_state(start["generator"])
        history = [Epoch(**epoch) for epoch in start["history"]]  # type: ignore[arg-type]  # epoch is a whole number
    first = len(history) + 1
    for number in track(range(first, settings.epochs + 1), f"{label} epochs", settings.epochs - first + 1):
        began, learning_rate = time.perf_counter(), optimizer.param_groups[0]["lr"]
        loss, train_accuracy = _train_epoch(model, optimizer, train, info, settings.batch_size, generator)
        if not math.isfinite(loss):
            raise NumericsError(
                f"the loss is {loss} in epoch {number} at learning rate {learning_rate:g}; expected a finite loss, "
                "lower the learning rate."
            )
        schedule.step()
        test_accuracy = test(model)
        seconds = time.perf_counter() - began
        history.append(Epoch(number, learning_rate, loss, train_accuracy, test_accuracy, seconds))
        logger.info(
            "epoch %d: learning rate %.4g, loss %.4f, train accuracy %.2f %%, test accuracy %.2f %%, %.1f s",
            *(number, learning_rate, loss, train_accuracy, test_accuracy, seconds),
        )
        if keep is not None:
            keep(
                State(
                    model=model.state_dict(),
                    optimizer=optimizer.state_dict(),
                    schedule=schedule.state_dict(),
                    generator=generator.get_state(),
                    history=[asdict(epoch) for epoch in history],
                )
            )
    return history


def _train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    train: Split,
    info: DatasetInfo,
    batch_size: int,
    generator: torch.Generator,
) -> tuple[float, float]:
    """Return mean loss and accuracy in percent; the device is read once, at the end."""
    model.train()
    images, labels = train
    loss_sum = torch.zeros((), device=images.device)
    correct = torch.zeros((), device=images.device)
    for inputs, targets in training_batches(images, labels, info, batch_size, generator):
        optimizer.zero_grad(set_to_none=True)
        logits = model(inputs)
        loss = cross_entropy(logits, targets)
        loss.backward()
        optimizer.step()
        loss_sum += loss.detach() * len(targets)
        correct += (logits.argmax(1) == targets).sum()
    return loss_sum.item() / len(images), 100 * correct.item() / len(images)
