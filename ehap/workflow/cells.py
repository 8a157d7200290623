"""The settings and the records of each cell, for rules and for the scripts of tables and page.

Settings are one canonical JSON string: Snakemake stores the values of params as a set without names, so several could
swap their values unnoticed.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ehap.results.former import in_order
from ehap.settings import Run, Tables
from ehap.settings.names import DENSE
from ehap.settings.stages import CATALOG, Level

if TYPE_CHECKING:
    from ehap.artifacts.job import Job  # it imports torch, which rules need not wait for

TablesJob: TypeAlias = "Job[Tables]"
"""A job that makes the tables or the page of a run."""


def cell_settings(run: Run, stage: str) -> Callable[[Any], str]:
    """Return the function from a rule's wildcards to the settings of that stage and cell, as canonical JSON."""
    return lambda wildcards: canonical(asdict(run.settings(stage, dict(wildcards.items()))))


def record_paths(results: Path, settings: Tables) -> list[Path]:
    """Return every record that the tables read, in a fixed order: the grid's own, then records of ``also_read``.

    Args:
        results: The folder of the run.
        settings: Datasets, models, seeds, methods, schemes and curvatures.
    """
    paths = [
        path for cell in product(settings.datasets, settings.models, settings.seeds) for path in _of(cell, settings)
    ]
    own = [results / path / "record.json" for path in paths]
    return own + [path for folder in settings.also_read for path in in_order(Path(folder))]


def _of(cell: tuple[str, str, int], settings: Tables) -> Iterator[str]:
    """Yield the folders of a cell's records: of the dense network, then of each method and its schemes."""
    dataset, model, seed = cell
    place = f"{dataset}/{model}/seed{seed}"
    network = f"{dataset}/{model}"
    yield from _at("cell", place, network, settings)
    yield from _at("dense", f"{place}/{DENSE}", network, settings)
    for curvature in settings.curvatures:
        yield from _at("curvature", f"{place}/{curvature}", network, settings)
    for method in settings.methods:
        yield from _at("method", f"{place}/{method}", f"{network}/{method}", settings)
        for scheme in settings.schemes:
            yield from _at("scheme", f"{place}/{method}/{scheme}", f"{network}/{method}/{scheme}", settings)


def _at(level: Level, place: str, network: str, settings: Tables) -> list[str]:
    """Return the folder of each stage of a network. Stages with a list of networks count only if it names this one."""
    stages = [stage for stage in CATALOG if level in stage.levels]
    return [f"{each.place}/{place}" for each in stages if not each.only or network in getattr(settings, each.only)]


def page_records(results: Path, settings: Tables) -> list[Path]:
    """Return every record that the page of results reads: the number of images, and the records of the tables."""
    places = [place for dataset in settings.datasets for place in _at("dataset", dataset, dataset, settings)]
    return [results / place / "record.json" for place in places] + record_paths(results, settings)


def page_files(results: Path, settings: Tables) -> list[Path]:
    """Return every file that the page of results reads: records, histories and plans."""
    records = page_records(results, settings)
    own = [path for path in records if results in path.parents]
    shown = {stage.place: stage.beside for stage in CATALOG if stage.shown}
    beside = [(path, shown.get(path.relative_to(results).parts[0])) for path in own]
    return records + [path.with_name(name) for path, name in beside if name]


def inputs_of_tables(job: TablesJob) -> dict[str, list[Path]]:
    """Return what the tables are made from, by name, beside the files of the command line."""
    return {"records": record_paths(Path(job.option("results")), job.settings)}


def inputs_of_page(job: TablesJob) -> dict[str, list[Path]]:
    """Return what the page is made from, by name; the page names the files that are missing."""
    results = Path(job.option("results"))
    return {"records": page_records(results, job.settings), "beside": page_files(results, job.settings)}


def canonical(values: dict[str, Any]) -> str:
    """Return JSON with sorted keys and no spaces."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"))
