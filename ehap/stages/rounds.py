"""Pruning in rounds: a part of the channels goes, what is left is scored anew, the next part goes.

Kept apart from ``prune``: methods of one round depend neither on curvature nor on images.
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from ehap.curvature import channel_traces
from ehap.data import hessian_batch
from ehap.errors import DataError
from ehap.models import INPUT_SHAPE
from ehap.pruning import Planner, PruningPlan, Scores, prune
from ehap.records import Job
from ehap.runtime import choose_device, logger
from ehap.settings import Machine, Prune, Trace
from ehap.stages.prepared import Data, load_data
from ehap.stages.prune import Planning, combined, scores_from
from ehap.training import recalibrate_

RECALIBRATION_IMAGES = 2048


def planning(data: Path, job: Job, settings: Prune, trace: Trace, machine: Machine) -> Planning:
    """Return the planning of ``settings.rounds`` rounds.

    Each round leaves the same share of what the round before has left. Before it is scored anew, what is left gets
    the BatchNorm statistics that it has; its weights stay the trained ones.

    Args:
        data: The prepared dataset, from which the Hessian batch is drawn as in the trace stage.
        job: The cell.
        settings: The budget, which the last round meets.
        trace: How the scores of each round are computed.
        machine: Where.
    """

    def planned(network: nn.Module, scores: Scores) -> PruningPlan:
        device = choose_device(machine.device, machine.threads)
        images = load_data(data, job, device)
        planner = Planner(network, INPUT_SHAPE)
        planner(scores, _part(settings, settings.rounds))  # a budget out of reach is said now, by its own number
        chosen = planner(scores, _part(settings, 1))
        for number in range(2, settings.rounds + 1):
            logger.info(
                "round %d: %.2f %% of the parameters", number, 100 * chosen.parameters / chosen.dense_parameters
            )
            found = _scored(network, chosen, images, job, settings, trace, device)
            chosen = planner(found, _part(settings, number), chosen.kept)
        return chosen

    return planned


def _part(settings: Prune, number: int) -> Prune:
    """Return the settings of a round: its share of the way, in equal ratios."""
    if number == settings.rounds:
        return replace(settings, rounds=1)
    done = number / settings.rounds
    ratio = settings.prune_ratio
    return replace(
        settings,
        rounds=1,
        prune_ratio=None if ratio is None else 1 - (1 - ratio) ** done,
        params=None if settings.params is None else settings.params**done,
        flops=None if settings.flops is None else settings.flops**done,
    )


def _scored(
    network: nn.Module,
    chosen: PruningPlan,
    images: Data,
    job: Job,
    settings: Prune,
    trace: Trace,
    device: torch.device,
) -> Scores:
    """Return new scores of all channels of the dense network; those that are gone have 0."""
    smaller = prune(network, chosen.kept).to(device)
    recalibrate_(smaller, images.train[0], images.info, RECALIBRATION_IMAGES, job.seed)
    if trace.batch_size > len(images.train[0]):
        raise DataError(f"expected at least {trace.batch_size} training images, got {len(images.train[0])}.")
    batch = hessian_batch(*images.train, images.info, trace.batch_size, job.seed)
    asked = replace(trace, criteria=(settings.criterion,), shards=1)  # type: ignore[arg-type]  # see Prune
    found = channel_traces(smaller, *batch, asked, job.seed).scores[asked.criteria[0]]
    scores = {}
    new = combined(scores_from(smaller.cpu(), settings.criterion, found), smaller, settings)
    for layer, values in new.items():
        whole = torch.zeros(len(network.get_parameter(f"{layer}.weight")), dtype=torch.float64)
        whole[chosen.kept[layer]] = values
        scores[layer] = whole
    return scores
