"""Stage finetune: the pruned network trained on, with the aids to recovery that the settings ask for."""

from ehap.artifacts.datasets import load_data
from ehap.artifacts.dense import load_dense, save_model
from ehap.artifacts.fitting import fit_and_record
from ehap.artifacts.job import Job
from ehap.artifacts.pruned import load_model
from ehap.errors import CheckpointError
from ehap.graph.layout import channels_last_
from ehap.graph.union import unions_by_matrix
from ehap.settings import Finetune
from ehap.training import Distillation, Objective, recalibrate_, true_labels


def run(job: Job[Finetune]) -> None:
    """Train the pruned network of a cell; write its weights, history and record.

    The input ``teacher`` is the dense network; only ``distill`` needs it.

    Raises:
        CheckpointError: The settings say ``distill``, but there is no teacher.
    """
    settings, identity, teacher = job.settings, job.identity, job.optional_input("teacher")
    if settings.distill and teacher is None:
        raise CheckpointError("finetune.distill needs the dense network; give --input teacher=PATH.")
    device = job.device()
    data = load_data(job, device)
    network, structure = load_model(job.input("pruned"), identity)
    channels_last_(network.to(device))
    if settings.recalibrate:
        recalibrate_(network, data.train[0], data.info, settings.recalibrate, identity.seed)
    objective: Objective = true_labels
    if settings.distill and teacher is not None:
        dense = channels_last_(load_dense(teacher, identity).to(device))
        objective = Distillation(dense, settings.distill, settings.temperature, settings.precision)
    with unions_by_matrix(network):
        states = fit_and_record(job, network, data, device, objective)
    save_model(job.output("checkpoint"), network, structure)
    states.remove()
