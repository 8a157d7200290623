"""Pruning in rounds: a part of the channels goes, what is left is scored anew, the next part goes.

Kept apart from ``prune``: methods of one round depend neither on curvature nor on images.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import nn

from ehap.artifacts.datasets import Data, load_data
from ehap.artifacts.job_checkpoint import JobCheckpoint
from ehap.curvature import channel_traces
from ehap.data import hessian_batch
from ehap.errors import DataError
from ehap.models import INPUT_SHAPE
from ehap.pruning import Planner, Scores, prune
from ehap.pruning.criteria import scores_from
from ehap.pruning.plan import PruningPlan
from ehap.records import Job
from ehap.runtime.device import choose_device
from ehap.runtime.progress import logger
from ehap.settings import Machine, Prune
from ehap.settings.prune import Rounds
from ehap.stages.prune import Planning, combined
from ehap.training import RECALIBRATION_IMAGES, recalibrate_


def planning(
    data: Path, inputs: Sequence[Path], job: Job, settings: Rounds, machine: Machine, states: Path | None = None
) -> Planning:
    """Return the planning of ``settings.prune.rounds`` rounds; each that is done is kept as a state.

    Each round leaves the same share of what the round before has left. Before it is scored anew, what is left gets
    the BatchNorm statistics that it has; its weights stay the trained ones.

    Args:
        data: The prepared dataset, from which the Hessian batch is drawn as in the trace stage.
        inputs: The other files that the plan depends on, by whose contents a state is known.
        job: The cell.
        settings: The budget, which the last round meets, and how the scores of each round are computed.
        machine: Where.
        states: Where states of the run lie; None keeps none.
    """
    device = choose_device(machine.device, machine.threads)
    wanted = settings.prune

    def planned(network: nn.Module, scores: Scores) -> PruningPlan:
        images = load_data(data, job, device)
        planner = Planner(network, INPUT_SHAPE)
        planner(scores, part(wanted, wanted.rounds))  # a budget out of reach is said now, by its own number
        states_of_job = JobCheckpoint(states, job, settings, [data, *inputs], device, machine.seconds_between_states)
        with states_of_job.listening():
            state = states_of_job.read() or {"done": 1, "plan": asdict(planner(scores, part(wanted, 1)))}
            chosen = PruningPlan(**state["plan"])
            for number in range(state["done"] + 1, wanted.rounds + 1):
                logger.info(
                    "round %d: %.2f %% of the parameters", number, 100 * chosen.parameters / chosen.dense_parameters
                )
                found = scored(network, chosen, images, job, settings, device)
                chosen = planner(found, part(wanted, number), chosen.kept)
                states_of_job.write({"done": number, "plan": asdict(chosen)})
        states_of_job.remove()
        return chosen

    return Planning(plan=planned, device=device)


def part(settings: Prune, number: int) -> Prune:
    """Return the settings of a round, from 1 on, for the planner: its share of the way, in equal ratios."""
    settings, rounds = replace(settings, rounds=1, with_magnitude=False), settings.rounds
    if number == rounds:
        return settings
    done = number / rounds
    ratio = settings.prune_ratio
    return replace(
        settings,
        prune_ratio=None if ratio is None else 1 - (1 - ratio) ** done,
        params=None if settings.params is None else settings.params**done,
        flops=None if settings.flops is None else settings.flops**done,
    )


def scored(
    network: nn.Module, chosen: PruningPlan, images: Data, job: Job, settings: Rounds, device: torch.device
) -> Scores:
    """Return new scores of all channels of the dense network; those that are gone have 0."""
    smaller = prune(network, chosen.kept).to(device)
    recalibrate_(smaller, images.train[0], images.info, RECALIBRATION_IMAGES, job.seed)
    trace, criterion = settings.trace, settings.prune.criterion
    if trace.batch_size > len(images.train[0]):
        raise DataError(f"expected at least {trace.batch_size} training images, got {len(images.train[0])}.")
    batch = hessian_batch(*images.train, images.info, trace.batch_size, job.seed)
    asked = replace(trace, criteria=(criterion,), shards=1)
    found = channel_traces(smaller, *batch, asked, job.seed).scores[asked.criteria[0]]
    scores = {}
    new = combined(scores_from(smaller.cpu(), criterion, found), smaller, settings.prune)
    for layer, values in new.items():
        whole = torch.zeros(len(network.get_parameter(f"{layer}.weight")), dtype=torch.float64)
        whole[chosen.kept[layer]] = values
        scores[layer] = whole
    return scores
