"""Stage prune_rounds: remove a part of the channels, score the others anew, remove the next part.

It is apart from ``prune``: so methods of one round depend on no curvature and on no images.
"""

from dataclasses import asdict, replace

import torch
from torch import nn

from ehap.artifacts.datasets import Data, input_shape, load_data
from ehap.artifacts.job import Job
from ehap.artifacts.job_checkpoint import JobCheckpoint
from ehap.curvature import channel_traces
from ehap.data import hessian_batch
from ehap.errors import DataError
from ehap.pruning import Planner, Scores, prune
from ehap.pruning.criteria import scores_from
from ehap.pruning.plan import PruningPlan
from ehap.runtime.progress import logger
from ehap.settings import Prune
from ehap.settings.prune import Rounds
from ehap.stages.prune import Planning, combined, prune_by_plan
from ehap.training import RECALIBRATION_IMAGES, recalibrate_


def run(job: Job[Rounds]) -> None:
    """Prune the dense network in ``settings.prune.rounds`` rounds; outputs as in the stage prune."""
    prune_by_plan(job.with_settings(job.settings.prune), planning(job))


def planning(job: Job[Rounds]) -> Planning:
    """Return the planning of ``settings.prune.rounds`` rounds; the state after each round is kept.

    Each round leaves the same share of the channels that the round before has left. Before the remaining channels are
    scored anew, BatchNorm gets the statistics of the smaller network; its weights stay the trained ones.
    """
    device, wanted = job.device(), job.settings.prune

    def planned(network: nn.Module, scores: Scores) -> PruningPlan:
        images = load_data(job, device)
        planner = Planner(network, input_shape(job))
        planner(scores, *wanted.parts)  # refuses a budget out of reach before any work
        states = JobCheckpoint(job, device)
        with states.listening():
            state = states.read() or {"done": 1, "plan": asdict(planner(scores, *part(wanted, 1).parts))}
            chosen = PruningPlan.from_fields(state["plan"])
            for number in range(state["done"] + 1, wanted.rounds + 1):
                left = 100 * chosen.parameters / chosen.dense_parameters
                logger.info("round %d: %.2f %% of the parameters", number, left)
                chosen = planner(scored(network, chosen, images, job, device), *part(wanted, number).parts, chosen.kept)
                states.write({"done": number, "plan": asdict(chosen)})
        states.remove()
        return chosen

    return Planning(plan=planned, device=device)


def part(settings: Prune, number: int) -> Prune:
    """Return the settings of a round, from 1 on, for the planner: its share of the way, in equal ratios."""
    settings, rounds = replace(settings, rounds=1), settings.rounds
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


def scored(network: nn.Module, chosen: PruningPlan, images: Data, job: Job[Rounds], device: torch.device) -> Scores:
    """Return new scores of all channels of the dense network; pruned channels have 0."""
    settings, seed = job.settings, job.identity.seed
    smaller = prune(network, chosen.kept).to(device)
    recalibrate_(smaller, images.train[0], images.info, RECALIBRATION_IMAGES, seed)
    trace, criterion = settings.trace, settings.prune.criterion
    if trace.batch_size > len(images.train[0]):
        raise DataError(f"expected at least {trace.batch_size} training images, got {len(images.train[0])}.")
    batch = hessian_batch(*images.train, images.info, trace.batch_size, seed)
    asked = replace(trace, criteria=(criterion,), shards=1)
    found = channel_traces(smaller, *batch, asked, seed).scores[asked.criteria[0]]
    scores = {}
    new = combined(scores_from(smaller.cpu(), criterion, found), smaller, settings.prune)
    for layer, values in new.items():
        whole = torch.zeros(len(network.get_parameter(f"{layer}.weight")), dtype=torch.float64)
        whole[chosen.kept[layer]] = values
        scores[layer] = whole
    return scores
