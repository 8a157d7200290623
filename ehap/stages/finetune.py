"""Stage finetune: the pruned network trained on, with what the settings ask for to make it recover."""

from pathlib import Path

from ehap.artifacts.datasets import load_data
from ehap.artifacts.dense import load_dense, save_model
from ehap.artifacts.fitting import fit_and_record
from ehap.artifacts.pruned import load_model
from ehap.errors import CheckpointError
from ehap.graph.layout import channels_last_
from ehap.graph.union import unions_by_matrix
from ehap.records import Job
from ehap.runtime.device import choose_device
from ehap.settings import Finetune, Machine
from ehap.training import Distillation, Objective, recalibrate_, true_labels


def run(
    data: Path,
    pruned: Path,
    checkpoint: Path,
    history: Path,
    record: Path,
    job: Job,
    settings: Finetune,
    machine: Machine,
    states: Path | None = None,
    events: Path | None = None,
    teacher: Path | None = None,
) -> None:
    """Train the pruned network of a cell; its weights, history and record are written.

    ``teacher`` is the dense network, the teacher where the settings say ``distill``.
    """
    if settings.distill and teacher is None:
        raise CheckpointError("finetune.distill needs the dense network; give --teacher.")
    device = choose_device(machine.device, machine.threads)
    images = load_data(data, job, device)
    network, structure = load_model(pruned, job)
    channels_last_(network.to(device))
    if settings.recalibrate:
        recalibrate_(network, images.train[0], images.info, settings.recalibrate, job.seed)
    inputs = [data, pruned]
    objective: Objective = true_labels
    if settings.distill and teacher is not None:
        dense = channels_last_(load_dense(teacher, job).to(device))
        objective = Distillation(dense, settings.distill, settings.temperature, settings.precision)
        inputs.append(teacher)
    with unions_by_matrix(network):
        states_of_job = fit_and_record(
            network, images, job, settings, device, history, record, states, machine, events, inputs, objective
        )
    save_model(checkpoint, network, structure)
    states_of_job.remove()
