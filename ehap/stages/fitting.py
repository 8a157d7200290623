"""What the three training stages share: fit, then write the history and the record."""

import csv
import io
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path

import torch
from torch import nn

from ehap.evaluation import accuracy
from ehap.records import Job, Value, write_record
from ehap.runtime import write_atomically
from ehap.settings import Machine, Training
from ehap.stages.prepared import Data
from ehap.stages.resume import Resume
from ehap.training import Epoch, fit


def fit_and_record(
    network: nn.Module,
    data: Data,
    job: Job,
    settings: Training,
    device: torch.device,
    history: Path,
    record: Path,
    states: Path | None,
    machine: Machine,
) -> Resume:
    """Train ``network`` in place; write one CSV row an epoch and the record of the last and the best epoch.

    A job that was cut off goes on from its last state in the folder ``states``;
    the caller removes the state once its own files are written.
    """
    resume = Resume(states, job, settings, machine.seconds_between_states)
    test = partial(accuracy, test=data.test, info=data.info)
    with resume.listening():
        epochs = fit(network, data.train, data.info, settings, job.seed, test, job.stage, resume, machine.step)
    write_history(history, epochs)
    values = {
        "accuracy": Value(epochs[-1].test_accuracy, "percent"),
        "best_accuracy": Value(max(epoch.test_accuracy for epoch in epochs), "percent"),
        "train_accuracy": Value(epochs[-1].train_accuracy, "percent"),
        "train_loss": Value(epochs[-1].train_loss, "nats"),
        "seconds": Value(sum(epoch.seconds for epoch in epochs), "s"),
    }
    write_record(record, job, values, settings, device)
    return resume


def write_history(path: Path, history: list[Epoch]) -> None:
    """Write one CSV row an epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Epoch)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(epoch) for epoch in history)
    write_atomically(path, text.getvalue().encode())
