"""Pruning by a function of the user's.

It is apart from ``prune``: so other methods depend on no images and on no code outside the project.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ehap.artifacts.datasets import load_data
from ehap.artifacts.job import Job
from ehap.data import hessian_batch
from ehap.errors import CheckpointError, DataError
from ehap.graph.tracing import copied
from ehap.pruning import Scores
from ehap.pruning.own_criterion import own_scores
from ehap.settings.own_criterion import asked
from ehap.settings.prune import OwnCriterion
from ehap.stages.prune import CPU, Planning, prune_by_plan


def run(job: Job[OwnCriterion]) -> None:
    """Prune by the scores of the user's function; the outputs are the same as in the stage prune."""
    prune_by_plan(job.with_settings(job.settings.prune), planning(job))


def planning(job: Job[OwnCriterion]) -> Planning:
    """Return the planning in which the user's function gives the scores, on the CPU."""
    settings, criterion = job.settings, job.settings.prune.criterion

    def scores(network: nn.Module) -> Scores:
        names = asked(criterion, Path.cwd())
        given: dict[str, Any] = {"network": copied(network).eval(), "seed": job.identity.seed}
        if settings.batch_size:
            given["images"], given["labels"] = _batch(job)
        return own_scores(criterion, network, {name: given[name] for name in names})

    return Planning(scores=scores)


def _batch(job: Job[OwnCriterion]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the Hessian batch, drawn as in the trace stage."""
    settings = job.settings
    if job.optional_input("data") is None:
        raise CheckpointError(f"criterion {settings.prune.criterion} asks for images; give --input data=PATH.")
    loaded = load_data(job, CPU)
    count = len(loaded.train[0])
    if settings.batch_size > count:
        raise DataError(
            f"expected at least {settings.batch_size} training images for the Hessian batch, got {count}; lower "
            "trace.batch_size or raise prepare.train_images."
        )
    return hessian_batch(*loaded.train, loaded.info, settings.batch_size, job.identity.seed)
