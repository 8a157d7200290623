"""Tiles of the first screen, and the tile of latency, which may come from a benchmark."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan

import pandas

from ehap.records import EXACT_SUMS
from ehap.report.material import Material
from ehap.report.networks import Network
from ehap.report.text import number
from ehap.results.format import counted
from ehap.results.latency import times
from ehap.runtime.device import slug

ENGINE = "onnxruntime"
ENGINE_SAID = " in ONNX Runtime"
ALIGNED = "plain sums, aligned"
"""The form in which the benchmark executes pruned networks, as the workflow deploys them."""
STOPS = {
    "dense": ("dense", "FP32"),
    "dense INT8": ("dense", "INT8"),
    "pruned": (ALIGNED, "FP32"),
    "pruned INT8": (ALIGNED, "INT8"),
}
"""Label to network and precision of the benchmark."""
TIMED = {label: f"{'dense' if name == 'dense' else 'pruned'}_{precision}" for label, (name, precision) in STOPS.items()}
"""Label to network and precision of the run's own records."""


@dataclass(frozen=True)
class Stop:
    """A network on its way (dense, pruned, INT8), a number of it, and how that compares with the dense one."""

    label: str
    text: str
    beside: str = ""
    sources: tuple[int, ...] = ()


@dataclass(frozen=True)
class Tile:
    """One question of the first screen.

    note: Text about the numbers. source: Their benchmark, if any. command: Command that makes missing numbers.
    """

    title: str
    stops: Sequence[Stop]
    note: str = ""
    source: str = ""
    command: str = ""


def latency(material: Material, network: Network) -> Tile:
    """Return the run's timing of the network; without one, a benchmark of its model on its device.

    Of several batch sizes the first is shown. Processors of one name but with other instruction sets do not count as
    one device.
    """
    own = _timed(material, network)
    if own is not None:
        return own
    here = material.instructions(network.device)
    for path, bench in material.bench("bench_latency").items():
        rows = bench[(bench["model"] == network.model) & (bench["engine"] == ENGINE)]
        if "instructions" in rows:
            rows = rows[rows["instructions"].isin(here)]
        elif "" not in here:  # the benchmark does not name its processor
            continue
        if len(rows) and f"/{slug(network.device)}/" in path:
            batch = int(rows["batch"].iloc[0])
            return _latency(material, rows[rows["batch"] == batch], batch, path)
    command = f'make bench-latency ARGS="--models {network.model} --name bench_latency_{network.model}"'
    return Tile("Latency", (), "not measured on a processor with these instruction sets", command=command)


def _timed(material: Material, network: Network) -> Tile | None:
    """Return the network's milliseconds from the stage latency, as means over seeds.

    Of several sets of instructions the first counts. So does the first of sessions with and without the option for
    exact sums.
    """
    where = {"dataset": network.dataset, "model": network.model, "method": network.method, "scheme": network.scheme}
    where |= {"stage": "latency", "device": network.device}
    rows = material.values
    for column, value in where.items():
        rows = rows[rows[column] == value]
    sets = next(iter(rows["instructions"]), "")
    rows = rows[rows["instructions"] == sets]
    option = rows[rows["quantity"] == "exact_sums_option"].set_index("seed")["value"]
    by_seed = rows["seed"].map(option).fillna(-1)  # records without it
    rows = rows[by_seed == by_seed.iloc[0]] if len(rows) else rows
    parts = times(rows)
    if parts.empty:
        return None
    batch = parts["batch"].iloc[0]
    means = parts[parts["batch"] == batch].groupby("network")["value"].mean()
    found = {label: float(means[name]) for label, name in TIMED.items() if name in means}
    sources = material.sources(**where, instructions=sets)
    note = ", on ".join(filter(None, [counted(batch, "image") + ENGINE_SAID, sets]))
    note += f", with {EXACT_SUMS[1]}" if by_seed.iloc[0] == 1 else ""
    return Tile("Latency", _stops(found, dict.fromkeys(found, sources)), note)


def _latency(material: Material, rows: pandas.DataFrame, batch: int, path: str) -> Tile:
    """Return the milliseconds of a benchmark's networks; the title says that the network is another one."""
    found = {(row["network"], row["precision"]): row for row in rows.reset_index().to_dict("records")}
    ours = {label: found[key] for label, key in STOPS.items() if key in found}
    times = {label: float(row["latency_ms"]) for label, row in ours.items()}
    sources = {label: material.bench_sources(path, row["index"]) for label, row in ours.items()}
    kept = {row["network"]: row["kept_parameters"] for row in rows.to_dict("records")}
    share = f"a {100 * kept[ALIGNED] / kept['dense']:.0f} %" if {ALIGNED, "dense"} <= set(kept) else "another"
    weights = " (new weights)" if "new" in set(rows["weights"]) else ""
    title = f"Latency of {share} network, not this one{weights}"
    return Tile(title, _stops(times, sources), counted(batch, "image") + ENGINE_SAID, path)


def _stops(times: Mapping[str, float], sources: Mapping[str, tuple[int, ...]]) -> list[Stop]:
    """Return the stops of a tile from label to milliseconds."""
    whole = times.get("dense", nan)
    stops: list[Stop] = []
    for label in STOPS:
        beside = f"{whole / times[label]:.1f}× as fast" if label in times and not isnan(whole) and stops else ""
        stops.append(Stop(label, number(times.get(label, nan), "ms"), beside, sources.get(label, ())))
    return stops
