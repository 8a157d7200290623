"""Stage prune: from a dense network and its traces to a smaller network."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from ehap.errors import CheckpointError
from ehap.pruning import Scores, magnitude, plan, prune, random_scores, sensitivity
from ehap.records import Job, Value, read_tensors, write_record
from ehap.runtime import choose_device, write_atomically
from ehap.settings import Machine, Prune
from ehap.stages.dense import check_cell, load_dense, save_model


def run(
    checkpoint: Path,
    traces: Path | None,
    plan_file: Path,
    pruned: Path,
    record: Path,
    job: Job,
    settings: Prune,
    machine: Machine,
) -> None:
    """Rank the channels, plan to the budget, write the plan and the pruned weights."""
    choose_device("cpu", machine.threads)
    network = load_dense(checkpoint, job)
    scores = _scores(network, traces, job, settings)
    chosen = plan(network, scores, settings)
    smaller = prune(network, chosen.kept)
    write_atomically(plan_file, (json.dumps(asdict(chosen)) + "\n").encode())
    save_model(pruned, smaller, job, chosen.kept)
    channels = sum(map(len, scores.values()))
    values = {
        "parameters": Value(chosen.parameters, "parameters"),
        "dense_parameters": Value(chosen.dense_parameters, "parameters"),
        "channels": Value(channels, "channels"),
        "kept_channels": Value(sum(map(len, chosen.kept.values())), "channels"),
    }
    write_record(record, job, values, settings, torch.device("cpu"))


def _scores(network: nn.Module, traces: Path | None, job: Job, settings: Prune) -> Scores:
    kinds = (nn.Conv2d, nn.Linear)
    weights = {name: module.weight for name, module in network.named_modules() if isinstance(module, kinds)}
    if settings.criterion == "magnitude":
        return magnitude(weights)
    if settings.criterion == "random":
        return random_scores(weights, job.seed)
    if traces is None:
        raise CheckpointError("criterion trace needs a traces file; give --traces.")
    tensors, metadata = read_tensors(traces)
    check_cell(traces, metadata, job)
    if metadata.get("curvature") != job.curvature:
        raise CheckpointError(f"{traces}: expected the curvature {job.curvature}, got {metadata.get('curvature')}.")
    return sensitivity({name: tensors.get(f"trace.{name}.weight", torch.empty(0)) for name in weights}, weights)
