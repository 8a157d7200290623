"""Tiles of the first screen: what they are made of, and the one of latency, which comes from a benchmark."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan

import pandas

from ehap.report.material import Material
from ehap.report.networks import Network
from ehap.report.text import number
from ehap.runtime import slug

ENGINE = "onnxruntime"
ALIGNED = "plain sums, aligned"
"""The form in which the benchmark executes pruned networks, as the workflow deploys them."""
STOPS = {
    "dense": ("dense", "FP32"),
    "dense INT8": ("dense", "INT8"),
    "pruned": (ALIGNED, "FP32"),
    "pruned INT8": (ALIGNED, "INT8"),
}
"""Label to network and precision of the benchmark."""


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

    note: About the numbers. source: A benchmark that they come from. command: What gets them where there are none.
    """

    title: str
    stops: Sequence[Stop]
    note: str = ""
    source: str = ""
    command: str = ""


def latency(material: Material, network: Network) -> Tile:
    """Return what a benchmark of the network's device says of its model, for the number of images that comes first."""
    for path, bench in material.bench("bench_latency").items():
        rows = bench[(bench["model"] == network.model) & (bench["engine"] == ENGINE)]
        if len(rows) and f"/{slug(network.device)}/" in path:
            batch = int(rows["batch"].iloc[0])
            return _latency(material, rows[rows["batch"] == batch], batch, path)
    command = f'make bench-latency ARGS="--models {network.model}"'
    return Tile("Latency", (), "not measured on this device", command=command)


def _latency(material: Material, rows: pandas.DataFrame, batch: int, path: str) -> Tile:
    """Return the milliseconds of a benchmark's networks; the title says that they are not those of the run."""
    found = {(row["network"], row["precision"]): row for row in rows.reset_index().to_dict("records")}
    times = {key: float(row["latency_ms"]) for key, row in found.items()}
    whole = times.get(STOPS["dense"], nan)
    stops: list[Stop] = []
    for label, key in STOPS.items():
        beside = f"{whole / times[key]:.1f}× as fast" if key in times and not isnan(whole) and stops else ""
        sources = material.bench_sources(path, found[key]["index"]) if key in found else ()
        stops.append(Stop(label, number(times.get(key, nan), "ms"), beside, sources))
    kept = {row["network"]: row["kept_parameters"] for row in rows.to_dict("records")}
    share = f"a {100 * kept[ALIGNED] / kept['dense']:.0f} %" if {ALIGNED, "dense"} <= set(kept) else "another"
    weights = " (new weights)" if "new" in set(rows["weights"]) else ""
    images = f"{batch} image{'' if batch == 1 else 's'} in ONNX Runtime"
    return Tile(f"Latency of {share} network, not this one{weights}", stops, images, path)
