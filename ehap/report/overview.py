"""All networks: a table, and accuracy against size."""

from collections.abc import Sequence
from math import isnan

import pandas

from ehap.report.blocks import Block, Cell, Picture, Row, Section, Table
from ehap.report.cells import narrow, network_cells, nothing, number_cell, sourced
from ehap.report.charts import embedded
from ehap.report.material import Material
from ehap.report.networks import Network, against, dense_of
from ehap.results.figures.sizes import accuracy_by_size
from ehap.results.format import cell_name
from ehap.settings.names import DENSE


def networks_section(material: Material, networks: Sequence[Network]) -> Section:
    """Return the table of all networks, with their picture."""
    lead = (
        "One row a network. Accuracy: on all test images, mean ± standard deviation over seeds, at the last epoch of a "
        "training. Differences are of the same seeds. Click a number to see its records."
    )
    rows = [_network_row(material, network, dense_of(networks, network)) for network in networks]
    columns = (
        *("dataset", "model", "method", "#accuracy", "#against dense", "#parameters kept", "#FLOPs kept", "#file"),
        *("#INT8 accuracy", "#INT8 file", "#n", "device"),
    )
    table = narrow(Table("networks", "Accuracy and size", columns, rows))
    blocks: list[Block] = [table, *pictures_of_size(material, networks)] if rows else [nothing(material, "evaluate")]
    return Section("networks", "All networks", lead, blocks)


def _how(network: Network, material: Material) -> str:
    said = ["repaired"] if network.repaired else []
    said += ["as published"] if network.method in material.as_published else []
    return f" ({', '.join(said)})" if said else ""


def _network_row(material: Material, network: Network, dense: Network) -> Row:
    change = against(network.by_seed, dense.by_seed)
    shares = [100 * network.parameters / dense.parameters, 100 * network.flops / dense.flops]
    both = tuple(dict.fromkeys((*network.sources, *dense.sources)))
    counted = tuple(dict.fromkeys((*network.size_sources, *dense.size_sources)))
    cells = (
        *network_cells(network.dataset, network.model),
        Cell(network.method + _how(network, material)),
        number_cell(network.accuracy, "percent", network.spread, network.sources),
        Cell("") if network.method == DENSE else number_cell(change, "percentage points", sources=both, sign=True),
        *(number_cell(share, "percent", sources=counted) for share in shares),
        number_cell(network.file_size, "bytes", sources=network.sources),
        number_cell(network.int8_accuracy, "percent", network.int8_spread, network.int8_sources),
        number_cell(network.int8_file_size, "bytes", sources=network.int8_sources),
        Cell(str(network.n), network.n),
        Cell(network.device),
    )
    return Row(sourced(cells, network.sources), network.dataset, network.model, network.method)


def pictures_of_size(material: Material, networks: Sequence[Network]) -> list[Picture]:
    """Return accuracy against size, a picture for each dataset and model."""
    colours = material.colours
    pictures = []
    for dataset, model in dict.fromkeys((network.dataset, network.model) for network in networks):
        mine = [network for network in networks if (network.dataset, network.model) == (dataset, model)]
        if len(mine) < 2:  # noqa: PLR2004  # one point is no picture
            continue
        by_file = sum(not isnan(network.file_size) for network in mine) >= len(mine) / 2
        frame = pandas.DataFrame([point for network in mine for point in _points(material, network, by_file)])
        frame = frame.dropna(subset=["size", "accuracy"])
        title = "size of the file, KB" if by_file else "parameters, thousands"
        best = frame.sort_values("accuracy").iloc[-1]
        alt = (
            f"Accuracy against {title}, for {len(frame)} networks of {cell_name(dataset, model)}: from "
            f"{frame['size'].min():,.0f} to {frame['size'].max():,.0f}, {frame['accuracy'].min():.1f} to "
            f"{frame['accuracy'].max():.1f} %; the best is {best['label']}."
        )
        key = {name: colours[name] for name in dict.fromkeys(frame["family"])}
        spec = embedded(accuracy_by_size(frame, key, title))
        what = f"Accuracy against size, {cell_name(dataset, model)}"
        pictures.append(Picture(f"size-{dataset}-{model}", what, alt, spec, key, dataset, model, wide=True))
    return pictures


def _points(material: Material, network: Network, by_file: bool) -> list[dict[str, object]]:
    known = material.families
    kind = {"method": network.method, "family": known.family(network.method), "group": known.pooled(network.method)}
    kind["device"] = network.device
    where = f" on {network.device}" if material.several_devices else ""
    size = network.file_size if by_file else network.parameters
    state = "dense" if network.method == DENSE else "pruned"
    spread = 0.0 if isnan(network.spread) else network.spread
    label = network.method + where
    first = {"size": size / 1e3, "accuracy": network.accuracy, "spread": spread, "label": label}
    points = [{**kind, "state": state, **first, "order": 0 if state == "dense" else 1}]
    if by_file and not isnan(network.int8_accuracy):
        spread = 0.0 if isnan(network.int8_spread) else network.int8_spread
        label = f"{network.method}, {network.scheme}{where}"
        second = {"size": network.int8_file_size / 1e3, "accuracy": network.int8_accuracy, "spread": spread}
        points.append({**kind, "state": "quantized", **second, "label": label, "order": 2})
    return points
