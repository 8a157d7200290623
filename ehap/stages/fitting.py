"""What the three training stages share: fit, then write the history and the record."""

from functools import partial
from pathlib import Path

import torch
from torch import nn

from ehap.evaluation import accuracy
from ehap.records import Job, Value, write_record
from ehap.settings import Training
from ehap.stages.files import Data, write_history
from ehap.training import fit


def fit_and_record(
    network: nn.Module,
    data: Data,
    job: Job,
    settings: Training,
    device: torch.device,
    history: Path,
    record: Path,
) -> None:
    """Train ``network`` in place; write one CSV row an epoch and the record of the last and the best epoch."""
    test = partial(accuracy, test=data.test, info=data.info)
    epochs = fit(network, data.train, data.info, settings, job.seed, test, job.stage)
    write_history(history, epochs)
    values = {
        "accuracy": Value(epochs[-1].test_accuracy, "percent"),
        "best_accuracy": Value(max(epoch.test_accuracy for epoch in epochs), "percent"),
        "train_accuracy": Value(epochs[-1].train_accuracy, "percent"),
        "train_loss": Value(epochs[-1].train_loss, "nats"),
        "seconds": Value(sum(epoch.seconds for epoch in epochs), "s"),
    }
    write_record(record, job, values, settings, device)
