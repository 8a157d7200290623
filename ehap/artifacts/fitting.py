"""Training as a job: fit, then write the history and the record."""

import csv
import io
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ehap.artifacts.datasets import Data
from ehap.artifacts.job import Job
from ehap.artifacts.job_checkpoint import JobCheckpoint, job_folder
from ehap.errors import SettingsError
from ehap.evaluation import accuracy
from ehap.graph.layout import channels_last_
from ehap.records import Identity, Proof, Value
from ehap.runtime.files import write_atomically
from ehap.runtime.memory import keep_freed_memory
from ehap.runtime.progress import logger
from ehap.settings import Qat
from ehap.settings.machine import Step
from ehap.training import Epoch, Objective, fit, true_labels


def fit_and_record(
    job: Job[Any],
    network: nn.Module,
    data: Data,
    device: torch.device,
    objective: Objective = true_labels,
    further: Mapping[str, Value] | None = None,
    proofs: Mapping[str, Proof] | None = None,
) -> JobCheckpoint:
    """Train ``network`` in place; write the outputs ``history`` and ``record``.

    The history has one CSV row an epoch. The record has the last and the best epoch.

    Args:
        job: The job; a job that was cut off goes on from its last state.
        network: The network, on the device.
        data: The data, on the device.
        device: Device of the training.
        objective: The loss.
        further: Values that the record holds as well.
        proofs: Proofs that the record holds.

    Returns:
        The state of the job; the caller removes it after its own files are written.
    """
    settings, identity = job.settings, job.identity
    states = JobCheckpoint(job, device, {name: item.value for name, item in (further or {}).items()})
    if device.type == "cuda":  # on a CPU the index operations of a simulated pruned network are slower with it
        channels_last_(network)
    else:
        keep_freed_memory()
    test = partial(accuracy, test=data.test, info=data.info)
    with states.listening(), event_writer(job.events, identity) as report:
        training = network, data.train, data.info, settings, identity.seed
        epochs = fit(*training, test, identity.stage, states, _step(job), report, objective)
    write_history(job.output("history"), epochs)
    values = _values(epochs) if epochs else _untrained(test(network))
    job.write_record({**values, **(further or {})}, device, proofs)
    return states


def _step(job: Job[Any]) -> Step:
    """Return how training steps are launched."""
    if job.machine.step == "graphs" and isinstance(job.settings, Qat):
        logger.info("quantization-aware steps are launched eagerly: their observers look at values on the host")
        return "eager"
    return job.machine.step


def _values(epochs: Sequence[Epoch]) -> dict[str, Value]:
    return {
        "accuracy": Value(epochs[-1].test_accuracy, "percent"),
        "best_accuracy": Value(max(epoch.test_accuracy for epoch in epochs), "percent"),
        "train_accuracy": Value(epochs[-1].train_accuracy, "percent"),
        "train_loss": Value(epochs[-1].train_loss, "nats"),
        "seconds": Value(sum(epoch.seconds for epoch in epochs), "s"),
    }


def _untrained(accuracy: float) -> dict[str, Value]:
    """Return the values of a training of no epoch. It has no seconds: they would say nothing about a training."""
    return {"accuracy": Value(accuracy, "percent"), "best_accuracy": Value(accuracy, "percent")}


def write_history(path: Path, history: list[Epoch]) -> None:
    """Write one CSV row an epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Epoch)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(epoch) for epoch in history)
    write_atomically(path, text.getvalue().encode())


@contextmanager
def event_writer(folder: Path | None, identity: Identity) -> Iterator[Callable[[Epoch], None] | None]:
    """Give a function that adds an epoch to the job's TensorBoard curves; None without a folder.

    Raises:
        SettingsError: There is a folder, but tensorboard is not installed.
    """
    if folder is None:
        yield None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise SettingsError(
            "machine.tensorboard needs the package tensorboard, which is not installed; pip install tensorboard."
        ) from None
    own = job_folder(folder, identity)
    shutil.rmtree(own, ignore_errors=True)  # a job that goes on reports its first epochs again
    with _unless_full(own) as guarded:
        writer = guarded(lambda: SummaryWriter(str(own)))

        def add(epoch: Epoch) -> None:
            values = {name: value for name, value in asdict(epoch).items() if name != "epoch"}
            guarded(lambda: [writer.add_scalar(name, value, epoch.epoch) for name, value in values.items()])

        try:
            yield add
        finally:
            guarded(lambda: writer.close())  # noqa: PLW0108 (there may be none)


@contextmanager
def _unless_full(folder: Path) -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """Give a function that calls others until the system refuses to write; the training goes on without curves."""
    failed = False
    before = threading.excepthook

    def quiet(args: "threading.ExceptHookArgs") -> None:
        if not isinstance(args.exc_value, OSError):  # the writer's thread repeats its error in the next call
            before(args)

    def guarded(call: Callable[[], Any]) -> Any:
        nonlocal failed
        try:
            return None if failed else call()
        except OSError as error:
            failed = True
            logger.warning("no further TensorBoard curves in %s (%s); the job goes on without them", folder, error)

    threading.excepthook = quiet
    try:
        yield guarded
    finally:
        threading.excepthook = before
