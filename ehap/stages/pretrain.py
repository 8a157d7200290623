"""Stage pretrain: a dense network, from new weights or from given ones."""

from pathlib import Path

from ehap.artifacts.datasets import load_data
from ehap.artifacts.dense import architecture, save_model
from ehap.artifacts.fitting import fit_and_record
from ehap.artifacts.given import load_given_
from ehap.errors import CheckpointError
from ehap.graph.layout import channels_last_
from ehap.models import build_model
from ehap.records import Job
from ehap.runtime.device import choose_device
from ehap.settings import Machine, Pretrain


def run(
    data: Path,
    checkpoint: Path,
    history: Path,
    record: Path,
    job: Job,
    settings: Pretrain,
    machine: Machine,
    states: Path | None = None,
    events: Path | None = None,
    weights: Path | None = None,
) -> None:
    """Train the dense network of a cell; its weights, history and record are written.

    It starts from ``weights``, see ``load_given_``, where that is a file.

    Raises:
        CheckpointError: The settings name weights but none are given, or they do not fit the network.
    """
    if settings.weights and weights is None:
        raise CheckpointError(f"pretrain.weights says {settings.weights}; give --weights, too.")
    device = choose_device(machine.device, machine.threads)
    images = load_data(data, job, device)
    network = build_model(job.model, images.info.classes, seed=job.seed)
    inputs = [data]
    if weights is not None:
        load_given_(weights, network, job)
        inputs.append(weights)
    channels_last_(network.to(device))
    states_of_job = fit_and_record(
        network, images, job, settings, device, history, record, states, machine, events, inputs
    )
    save_model(checkpoint, network, architecture(job, None))
    states_of_job.remove()
