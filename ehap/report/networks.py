"""The networks of a run: accuracy and size, dense, pruned and quantized."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Any

import pandas

from ehap.report.material import Material
from ehap.results.order import TESTED
from ehap.settings.names import DENSE
from ehap.settings.scheme import BYTE

KEYS = ["dataset", "model", "method", "device"]
STEPS = ["reconstructed_accuracy", "distilled_accuracy"]
SMALL = 1.1  # times the fewest parameters of any method count as equally small


@dataclass(frozen=True, kw_only=True)
class Network:
    """One network, means over seeds; NaN where nothing is known. Accuracies in percent, sizes as in the records.

    by_seed: Seed to accuracy. sources: Numbers of the records of accuracy and file size. size_sources: Those of
    parameters and FLOPs. trained: The accuracy is that after epochs of training (dense) or fine-tuning. repaired: It
    is that after the repair without labels, nothing was fine-tuned. scheme, int8_…: Of its quantized form.
    """

    dataset: str
    model: str
    method: str
    device: str
    n: int = 0
    accuracy: float = nan
    spread: float = nan
    parameters: float = nan
    flops: float = nan
    file_size: float = nan
    by_seed: Mapping[int, float] = field(default_factory=dict)
    trained: bool = False
    repaired: bool = False
    sources: tuple[int, ...] = ()
    size_sources: tuple[int, ...] = ()
    scheme: str = ""
    int8_accuracy: float = nan
    int8_spread: float = nan
    int8_file_size: float = nan
    int8_by_seed: Mapping[int, float] = field(default_factory=dict)
    int8_trained: bool = False
    int8_sources: tuple[int, ...] = ()


def networks(material: Material) -> list[Network]:
    """Return every network, in the order of the records."""
    values = material.values
    known = values[values["stage"].isin(TESTED)][KEYS].drop_duplicates()
    return [_network(material, *key) for key in known.itertuples(index=False, name=None)]


def best_first(found: Sequence[Network]) -> list[Network]:
    """Order pruned networks of one dataset and model: quantized ones first, then the small ones, then by accuracy."""
    least = min((network.parameters for network in found), default=nan)

    def rank(network: Network) -> tuple[bool, bool, float]:
        accuracy = network.accuracy if network.accuracy == network.accuracy else -1.0  # not NaN
        return network.int8_accuracy != network.int8_accuracy, not network.parameters <= SMALL * least, -accuracy

    return sorted(found, key=rank)


def dense_of(found: Sequence[Network], network: Network) -> Network:
    """Return the dense network that one was made from; where there is one of the same device, that."""
    dense = [
        each for each in found if (each.dataset, each.model, each.method) == (network.dataset, network.model, DENSE)
    ]
    same = [each for each in dense if each.device == network.device]
    return next(iter(same or dense), Network(dataset=network.dataset, model=network.model, method=DENSE, device=""))


def against(accuracy: Mapping[int, float], dense: Mapping[int, float]) -> float:
    """Return the mean difference of two networks' accuracies over the seeds that both have; NaN without any."""
    common = accuracy.keys() & dense.keys()
    return sum(accuracy[seed] - dense[seed] for seed in common) / len(common) if common else nan


def _network(material: Material, dataset: str, model: str, method: str, device: str) -> Network:
    cell: dict[str, Any] = {"dataset": dataset, "model": model, "method": method}
    here = cell | {"device": device}
    stage, quantity = "evaluate", "accuracy"
    step = next((step for step in reversed(STEPS) if len(material.value("reconstruct", step, **here))), "")
    if step and material.value(stage, quantity, scheme="", **here).empty:
        stage, quantity = "reconstruct", step
    accuracy = material.value(stage, quantity, scheme="", **here)
    trained = _trained(material, "pretrain" if method == DENSE else "finetune", here)
    parameters, flops = (
        _first(material.value("evaluate", name, scheme="", **here), material.value("prune", name, **cell))
        for name in ("parameters", "flops")
    )
    tested = material.sources(stage="evaluate", scheme="", **here)
    network = Network(
        **here,
        n=len(accuracy),
        accuracy=float(accuracy.mean()),
        spread=float(accuracy.std()),
        parameters=parameters,
        flops=flops,
        file_size=float(material.value("evaluate", "file_size", scheme="", **here).mean()),
        by_seed=material.by_seed(stage, quantity, scheme="", **here),
        trained=trained,
        repaired=bool(step) and not trained,
        sources=material.sources(stage=stage, scheme="", **here),
        size_sources=tested or material.sources(stage="prune", **cell),
    )
    return _with_integers(material, network)


def _with_integers(material: Material, network: Network) -> Network:
    """Add the results of the first scheme with 8 bits throughout, if there is one."""
    here = {"dataset": network.dataset, "model": network.model, "method": network.method, "device": network.device}
    frame = material.frames.get("precisions", pandas.DataFrame(columns=[*here, "weight_bits", "activation_bits"]))
    mine = frame[(frame[list(here)] == list(here.values())).all(axis=1)]
    widths = mine[["weight_bits", "activation_bits"]].fillna(BYTE)  # older records lack the bits of activations
    eight = mine[(widths == BYTE).all(axis=1)]
    if eight.empty:
        return network
    scheme = eight["scheme"].iloc[0]
    accuracy = material.value("evaluate", "accuracy", scheme=scheme, **here)
    return Network(
        **{
            **vars(network),
            "scheme": str(scheme),
            "int8_accuracy": float(accuracy.mean()),
            "int8_spread": float(accuracy.std()),
            "int8_file_size": float(material.value("evaluate", "file_size", scheme=scheme, **here).mean()),
            "int8_by_seed": material.by_seed("evaluate", "accuracy", scheme=scheme, **here),
            "int8_trained": _trained(material, "qat", {**here, "scheme": scheme}),
            "int8_sources": material.sources(stage="evaluate", scheme=scheme, **here),
        }
    )


def _trained(material: Material, stage: str, cell: Mapping[str, Any]) -> bool:
    """Say whether a stage had epochs: without any there is no loss of a last one."""
    where = {**cell, "method": ""} if stage == "pretrain" else cell
    return len(material.value(stage, "train_loss", **where)) > 0


def _first(*choices: pandas.Series) -> float:
    """Return the mean of the first series that is not empty."""
    return next((float(series.mean()) for series in choices if len(series)), nan)
