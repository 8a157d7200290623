"""Networks of any file: of ``ehap.save``, or of a stage of the workflow."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ehap.artifacts.foreign import network_file
from ehap.artifacts.pruned import blank_model
from ehap.artifacts.saved import FORMAT, filled, like, read_metadata, save_network
from ehap.data import DATASETS
from ehap.errors import CheckpointError, DataError, EhapError, SettingsError
from ehap.graph import Agreement
from ehap.graph.serialization import described, fill_
from ehap.models import MODELS
from ehap.pruning.plan import PruningPlan
from ehap.records import Identity, read_record
from ehap.settings.scheme import FLOAT

CELL = ("model", "dataset", "seed", "kept")
"""What metadata of every network of a stage say."""
RECORD, SCHEME = "record.json", ("model", "dataset", "seed", "method", "scheme")
"""The record beside the integers of quantize, and what it says of them."""


def load_network(path: Path, model: nn.Module | None = None) -> nn.Module:
    """Return the network of a file in eval mode, on the CPU, in the type in which it was saved.

    Args:
        path: A file of ``ehap.save``, or the weights that a stage has written: pretrain, prune, reconstruct, finetune
            or quantize. Integers of quantize need the record beside them.
        model: The dense network. Where given, its modules, pruned by the plan in the file, are filled with the tensors
            of the file. It is not changed.

    Raises:
        CheckpointError: The file is missing, damaged, or something else; or ``model`` is another network.
        ReadError: It cannot be read now.
    """
    tensors, metadata = network_file(path)
    try:
        if metadata.get("format") == FORMAT:
            return _own(tensors, metadata, model)
        return _of_stage(path, tensors, metadata, model)
    except CheckpointError as error:
        text = str(error).removeprefix(f"{path}: ").rstrip(".")
        raise CheckpointError(f"{path}: {text}.") from None


def plan_of(path: Path) -> PruningPlan:
    """Return the plan in a file of ``ehap.save``.

    Raises:
        CheckpointError: The file is missing, damaged, or something else; or it has no plan.
        ReadError: It cannot be read now.
    """
    _, metadata = network_file(path)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path}: expected a file of ehap.save; a run's plan lies in its plan.json.")
    try:
        plan = read_metadata(metadata).plan
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    if plan is None:
        raise CheckpointError(f"{path}: it was saved without a plan.")
    return plan


def save_any(
    path: Path, network: nn.Module, plan: PruningPlan | None = None, example: Tensor | None = None
) -> Agreement:
    """Write a network in floating point or a quantized one; see ``save_network`` and ``save_integers``."""
    simulation = sys.modules.get("ehap.quantization.simulation")  # imports torchao; who has such a network has it
    if simulation is None or not isinstance(network, simulation.SimulatedNetwork):
        return save_network(path, network, plan, example)
    from ehap.artifacts.integers import save_integers

    return save_integers(path, network, plan, example)


def _own(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], model: nn.Module | None) -> nn.Module:
    found = read_metadata(metadata)
    network = (
        found.blank
        if model is None
        else like(model, found.plan, "sorted" if found.plan is None else found.plan.order, found.graph)
    )
    if found.quantization is not None:
        from ehap.artifacts.integers import simulated  # imports torchao; networks in floating point need none

        return simulated(found, tensors, network)
    return filled(network, found.blank, tensors)


def _of_stage(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], model: nn.Module | None
) -> nn.Module:
    if not set(CELL) <= set(metadata):
        raise CheckpointError(
            f"it holds no network (its metadata say {', '.join(sorted(metadata)) or 'nothing'}); give a file of "
            "ehap.save, or the weights of pretrain, prune, reconstruct, finetune or quantize"
        )
    identity, kept = _identity(metadata), metadata["kept"]
    plain = isinstance(kept, dict) and all(isinstance(each, list) for each in kept.values())
    if kept is not None and not plain:
        raise CheckpointError(f"expected a plan, channels by layer, got {kept!r:.80}")
    try:
        network = blank_model(path, metadata, identity)
    except EhapError as error:
        raise CheckpointError(f"its plan does not fit {identity.model} ({error})") from None
    if model is not None:
        network = like(model, kept, metadata.get("order", "sorted"), described(network))
    if metadata.get("bits", FLOAT) != FLOAT:
        return _integers_of_stage(path, metadata, identity, network)
    fill_(network, tensors)
    return network.eval()


def _integers_of_stage(path: Path, metadata: Mapping[str, Any], identity: Identity, network: nn.Module) -> nn.Module:
    """Return the simulated network of packed integers, whose settings stand in the record beside the file."""
    from ehap.artifacts.integers import without_values  # imports torchao; networks in floating point need none
    from ehap.artifacts.quantized import load_quantized

    training = path.with_name(RECORD)
    try:
        record = _record(training)
        found = load_quantized(path, training, identity)
    except (DataError, SettingsError) as error:
        raise CheckpointError(f"its scheme stands in the record beside it, which cannot be used: {error}") from None
    other = next((name for name in SCHEME if record.get(name) != metadata.get(name)), None)
    if other is not None:
        raise CheckpointError(
            f"{training} is the record of another network: its {other} is {record.get(other)!r:.40}, the file's "
            f"{metadata.get(other)!r:.40}"
        )
    return replace(found, compact=without_values(network)).simulated()


def _record(path: Path) -> dict[str, Any]:
    record: object = read_record(path)
    if not isinstance(record, dict) or not isinstance(record.get("settings"), dict):
        raise DataError(f"{path}: expected a record with settings")
    return record


def _identity(metadata: Mapping[str, Any]) -> Identity:
    model, dataset, seed = (metadata[name] for name in CELL[:3])
    if model not in MODELS or dataset not in DATASETS:
        raise CheckpointError(
            f"expected a network of {', '.join(MODELS)} on {', '.join(DATASETS)}, got {model!r:.40} on {dataset!r:.40}"
            "; read it with the code that wrote it"
        )
    method, scheme = (str(metadata.get(name, "")) for name in ("method", "scheme"))
    return Identity(stage="load", dataset=dataset, model=model, seed=seed, method=method, scheme=scheme)
