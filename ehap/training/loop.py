"""The training loop of pretraining, fine-tuning and quantization-aware training."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from ehap.data import ImageInfo, Split, draw_epoch, training_batches
from ehap.errors import NumericsError
from ehap.runtime.checkpointing import NO_CHECKPOINTS, Checkpointer
from ehap.runtime.progress import logger, track
from ehap.settings import Training
from ehap.settings.machine import Step
from ehap.training.objective import Objective, true_labels
from ehap.training.step import Stepper


@dataclass(frozen=True)
class Epoch:
    """The results of one epoch.

    epoch: Counts from 1. learning_rate: During the epoch. train_loss: Mean cross-entropy over the epoch's batches.
    train_accuracy, test_accuracy: Percent. seconds: For training and testing.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    test_accuracy: float
    seconds: float


class State(TypedDict):
    """The state from which a run goes on, in the middle of an epoch, too.

    model, optimizer, scaler: Their state dicts.
    begin: The generator's state before the epoch's draws.
    batches: Done in this epoch. sums: Of loss and of right answers over these batches, shape (2,).
    seconds: Spent on these batches. history: The epochs so far, each as a mapping.
    """

    model: dict[str, Any]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    begin: Tensor
    batches: int
    sums: Tensor
    seconds: float
    history: list[dict[str, float]]


def fit(
    model: nn.Module,
    train: Split,
    info: ImageInfo,
    settings: Training,
    seed: int,
    test: Callable[[nn.Module], float],
    label: str = "training",
    checkpointer: Checkpointer = NO_CHECKPOINTS,
    step: Step = "eager",
    report: Callable[[Epoch], None] | None = None,
    objective: Objective = true_labels,
) -> list[Epoch]:
    """Train ``model`` in place by SGD with a cosine schedule, and return the history.

    Args:
        model: On the device of the images; left in eval mode.
        train: Images (N, 3, H, W) uint8, or of the form that ``info`` says, and labels (N,) int64.
        info: The dataset's normalisation and whether to flip.
        settings: Epochs, learning rate, momentum, weight decay, batch size, precision.
        seed: Seed of shuffling and augmentation. On a CPU with the same threads, it gives the same weights each time.
        test: Returns the accuracy in percent, after every epoch.
        label: Label of the progress bar.
        checkpointer: Keeps the state after every epoch and whenever it is due. On a CPU, a run that goes on from it
            gives the weights of an unbroken run.
        step: Form of a step; see Machine.
        report: Called with every epoch, including the epochs of a restored state.
        objective: The loss: cross-entropy with the true labels, or Distillation.

    Raises:
        NumericsError: The loss is NaN or infinite.
        StoppedError: The checkpointer was told to stop; the state is kept.
        DeviceError: ``step`` is graphs, and the model is not on a GPU.
    """
    run = _Run(model, train, info, settings, seed, step, objective)
    state = checkpointer.read()
    if state is not None:
        run.restore(state)
    if report is not None:
        for epoch in run.history:
            report(epoch)
    first = len(run.history) + 1
    for _ in track(range(first, settings.epochs + 1), f"{label} epochs", settings.epochs - first + 1):
        run.epoch(test, checkpointer, report)
    run.stepper.close()
    model.eval()
    return run.history


def cosine(start: float, done: float) -> float:
    """Return the learning rate after the share ``done`` of the epochs, on a half cosine from ``start`` to zero.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5 without restarts.
    """
    return start * (1 + math.cos(math.pi * done)) / 2


def scheduled(settings: Training, done: int) -> float:
    """Return the learning rate of the epoch that follows ``done`` epochs."""
    grown = min(1.0, (done + 1) / (settings.warmup_epochs + 1))
    return grown * cosine(settings.learning_rate, done / settings.epochs)


class _Run:
    """A training run and its progress."""

    def __init__(
        self,
        model: nn.Module,
        train: Split,
        info: ImageInfo,
        settings: Training,
        seed: int,
        step: Step,
        objective: Objective,
    ) -> None:
        self.model, self.train, self.info, self.settings = model, train, info, settings
        self.stepper = Stepper(model, train[0].device, settings, step, objective)
        self.generator = torch.Generator().manual_seed(seed)
        self.history: list[Epoch] = []
        self._start_epoch()

    def _start_epoch(self) -> None:
        self.begin = self.generator.get_state()
        self.batches, self.seconds = 0, 0.0
        self.sums = torch.zeros(2, device=self.train[0].device)

    def state(self) -> State:
        """Return the state from which the run goes on."""
        return State(
            model=self.model.state_dict(),
            optimizer=self.stepper.optimizer.state_dict(),
            scaler=self.stepper.scaler.state_dict(),
            begin=self.begin,
            batches=self.batches,
            sums=self.sums,
            seconds=self.seconds,
            history=[asdict(epoch) for epoch in self.history],
        )

    def restore(self, state: State) -> None:
        """Restore a state."""
        self.model.load_state_dict(state["model"])
        self.stepper.optimizer.load_state_dict(state["optimizer"])
        self.stepper.scaler.load_state_dict(state["scaler"])
        self.begin, self.batches, self.seconds = state["begin"], state["batches"], state["seconds"]
        self.sums = state["sums"].to(self.sums.device)
        self.history = [Epoch(**epoch) for epoch in state["history"]]  # type: ignore[arg-type]  # epoch is whole
        logger.info("going on after epoch %d and %d batches", len(self.history), self.batches)

    def epoch(
        self, test: Callable[[nn.Module], float], checkpointer: Checkpointer, report: Callable[[Epoch], None] | None
    ) -> None:
        """Finish the current epoch, test, report, and keep the state."""
        learning_rate = scheduled(self.settings, len(self.history))
        self.stepper.set_learning_rate(learning_rate)
        before, began = self.seconds, time.perf_counter()
        self.model.train()
        for inputs, targets in self._batches_to_do():
            self.sums += self.stepper(inputs, targets)
            self.batches += 1
            if checkpointer.due():
                self.seconds = before + time.perf_counter() - began
                loss = self._checked_loss(learning_rate)
                logger.info("epoch %d: %d batches, loss %.4f", len(self.history) + 1, self.batches, loss)
                checkpointer.write(self.state())
        loss = self._checked_loss(learning_rate)
        test_accuracy = test(self.model)
        self.seconds = before + time.perf_counter() - began
        train_accuracy = 100 * self.sums[1].item() / len(self.train[0])
        done = Epoch(len(self.history) + 1, learning_rate, loss, train_accuracy, test_accuracy, self.seconds)
        self.history.append(done)
        logger.info(
            "epoch %d: learning rate %.4g, loss %.4f, train accuracy %.2f %%%s, %.1f s",
            *(done.epoch, learning_rate, loss, train_accuracy),
            "" if math.isnan(test_accuracy) else f", test accuracy {test_accuracy:.2f} %",
            done.seconds,
        )
        if report is not None:
            report(done)
        self._start_epoch()
        checkpointer.write(self.state())

    def _batches_to_do(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Return the remaining batches of the epoch, from the draws of its beginning."""
        self.generator.set_state(self.begin)
        draws = draw_epoch(self.train[0], self.generator, self.info.flip, self.info.crop).to(self.train[0].device)
        return training_batches(*self.train, self.info, self.settings.batch_size, draws, self.batches)

    def _checked_loss(self, learning_rate: float) -> float:
        """Return the mean loss over the epoch's batches so far. Only here is the device read."""
        seen = min(self.batches * self.settings.batch_size, len(self.train[0]))
        loss = self.sums[0].item() / seen
        if not math.isfinite(loss):
            raise NumericsError(
                f"the loss is {loss} in epoch {len(self.history) + 1} at learning rate {learning_rate:g}; "
                "lower the learning rate."
            )
        if self.stepper.stuck():
            raise NumericsError(
                f"no FP16 gradient is finite in epoch {len(self.history) + 1} at any loss scale; set precision to bf16 "
                "or fp32."
            )
        return loss
