"""Stage pretrain: a dense network, from new weights or from given ones."""

from ehap.artifacts.datasets import load_data
from ehap.artifacts.dense import architecture, save_model
from ehap.artifacts.fitting import fit_and_record
from ehap.artifacts.given import load_given_
from ehap.artifacts.job import Job
from ehap.errors import CheckpointError
from ehap.graph.layout import channels_last_
from ehap.models import build_model
from ehap.settings import Pretrain


def run(job: Job[Pretrain]) -> None:
    """Train the dense network of a cell; write its weights, history and record.

    The training starts from the input ``weights`` where there is one, see ``load_given_``.

    Raises:
        CheckpointError: The settings name weights but none are given, or they do not fit the network.
    """
    identity, weights = job.identity, job.optional_input("weights")
    if job.settings.weights and weights is None:
        raise CheckpointError(f"pretrain.weights says {job.settings.weights}; give --input weights=PATH, too.")
    device = job.device()
    data = load_data(job, device)
    network = build_model(identity.model, data.info.classes, seed=identity.seed)
    if weights is not None:
        load_given_(weights, network, identity)
    channels_last_(network.to(device))
    states = fit_and_record(job, network, data, device)
    save_model(job.output("checkpoint"), network, architecture(identity, None))
    states.remove()
