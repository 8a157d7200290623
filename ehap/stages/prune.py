"""Stage prune: from a dense network and its traces to a smaller network."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from ehap.artifacts.datasets import input_shape
from ehap.artifacts.dense import architecture, load_dense, save_model
from ehap.artifacts.job import Job
from ehap.artifacts.traces import read_scores
from ehap.errors import CheckpointError, SettingsError
from ehap.graph import example_images
from ehap.graph.channels import channel_graph
from ehap.graph.layers import layer_weights
from ehap.models.resnet import initialise_
from ehap.pruning import Planner, Scores, geometric_mean, magnitude
from ehap.pruning.criteria import OF_CURVATURE, scores_from, scores_of
from ehap.pruning.plan import PruningPlan
from ehap.pruning.proof import check_pruned
from ehap.pruning.surgery import checked_kept, cut
from ehap.records import Proof, Value, proof
from ehap.runtime.files import write_atomically
from ehap.settings import Prune

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Planning:
    """Replacements for steps of the prune stage, and where they compute.

    plan: Function from the dense network and its scores to a plan. scores: Function from the dense network to its
    scores. None keeps the usual step.
    """

    plan: Callable[[nn.Module, Scores], PruningPlan] | None = None
    scores: Callable[[nn.Module], Scores] | None = None
    device: torch.device = CPU


def run(job: Job[Prune]) -> None:
    """Rank the channels, plan to the budget, write the plan and the pruned weights.

    Raises:
        SettingsError: Several rounds are asked for; ``prune_rounds`` has them.
    """
    if job.settings.rounds > 1:
        raise SettingsError(
            f"rounds must be 1 in stage prune, got {job.settings.rounds}: it scores once; run stage prune_rounds."
        )
    prune_by_plan(job)


def prune_by_plan(job: Job[Prune], planning: Planning | None = None) -> None:
    """Rank the channels, plan, write the plan and the pruned weights.

    ``planning`` replaces the ranking or the plan; see ``prune_rounds`` and ``prune_own``.
    """
    settings, planning = job.settings, planning or Planning()
    job.device("cpu")
    network = load_dense(job.input("checkpoint"), job.identity)
    found = planning.scores(network) if planning.scores else _of_criterion(network, job)
    scores = combined(found, network, settings)
    planner = Planner(network, input_shape(job))
    chosen = planning.plan(network, scores) if planning.plan else planner(scores, *settings.parts)
    smaller, pruning = _pruned(network, chosen, job)
    write_atomically(job.output("plan"), f"{chosen.to_json()}\n".encode())
    order = {} if chosen.order == "sorted" else {"order": chosen.order}
    save_model(job.output("pruned"), smaller, {**architecture(job.identity, chosen.kept), **order})
    values = {
        "parameters": Value(chosen.parameters, "parameters"),
        "dense_parameters": Value(chosen.dense_parameters, "parameters"),
        "flops": Value(chosen.flops, "flop"),
        "dense_flops": Value(chosen.dense_flops, "flop"),
        "channels": Value(sum(map(len, scores.values())), "channels"),
        "kept_channels": Value(sum(map(len, chosen.kept.values())), "channels"),
        **_published_rule(planner, scores, settings, chosen),
    }
    proofs = {"graph": proof(planner.reading), "pruned": pruning, "example": "random images"}
    job.write_record(values, planning.device, proofs)


def _pruned(network: nn.Module, chosen: PruningPlan, job: Job[Prune]) -> tuple[nn.Module, Proof]:
    """Return the pruned network, and its agreement with the masked one or why there is none."""
    graph = channel_graph(network)
    smaller = cut(network, graph, checked_kept(graph, chosen), chosen.order)
    if job.settings.reinitialize:
        reinitialise_(smaller, job.identity.seed)
        return smaller, "exempt: reinitialized"
    if chosen.order != "sorted":
        return smaller, "exempt: rule as_published"
    images = example_images(network, input_shape(job))
    return smaller, proof(check_pruned(network, smaller, graph, chosen.kept, images))


def _published_rule(planner: Planner, scores: Scores, settings: Prune, chosen: PruningPlan) -> dict[str, Value]:
    """Return in how many channels our rule and the published one differ; nothing where that has no such settings."""
    rule = "exact" if settings.rule == "as_published" else "as_published"
    try:
        others = replace(settings, rule=rule)  # type: ignore[arg-type]  # a literal
    except SettingsError:  # budgets, balanced layers and the like
        return {}
    other = planner(scores, *others.parts)
    differing = sum(len(set(kept) ^ set(other.kept[layer])) for layer, kept in chosen.kept.items())
    return {"published_rule_differs": Value(differing, "channels")}


def reinitialise_(network: nn.Module, seed: int) -> None:
    """Draw new weights for a network, in place, BatchNorm's too."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    initialise_(network, torch.Generator().manual_seed(seed))


def combined(scores: Scores, network: nn.Module, settings: Prune) -> Scores:
    """Return the scores of a criterion of ``network`` as the settings want them, alone or with the magnitude."""
    return geometric_mean(scores, magnitude(layer_weights(network))) if settings.with_magnitude else scores


def _of_criterion(network: nn.Module, job: Job[Prune]) -> Scores:
    criterion, traces = job.settings.criterion, job.optional_input("traces")
    if criterion not in OF_CURVATURE:
        return scores_of(network, criterion, job.identity.seed)
    if traces is None:
        raise CheckpointError(f"criterion {criterion} needs a traces file; give --input traces=PATH.")
    return scores_from(network, criterion, read_scores(traces, job.identity, criterion))
