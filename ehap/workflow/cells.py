"""Settings of a cell as one canonical JSON string, for rules.

Snakemake stores the values of params as a set without names, so settings spread over several params could swap
their values unnoticed; one string cannot.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from inspect import signature
from itertools import product
from pathlib import Path
from typing import Any

from ehap.settings import Run, Tables
from ehap.settings.names import DENSE

BESIDE = {
    "pretrain": "history.csv",
    "finetune": "history.csv",
    "quantize": "history.csv",
    "prune": "plan.json",
}
"""Stage to what the page of results shows beside its record."""


def cell_settings(run: Run, stage: str) -> Callable[[Any], str]:
    """Return the function from a rule's wildcards to the settings of that stage and cell, as canonical JSON."""
    settings = getattr(run, stage)
    names = list(signature(settings).parameters)
    return lambda wildcards: canonical(asdict(settings(*(getattr(wildcards, name) for name in names))))


def record_paths(results: Path, settings: Tables) -> list[Path]:
    """Return every record that the tables read, in a fixed order: the grid's own, then those of ``also_read``.

    Args:
        results: The folder of the run.
        settings: Datasets, models, seeds, methods, schemes and curvatures.
    """
    paths: list[str] = []
    for dataset, model, seed in product(settings.datasets, settings.models, settings.seeds):
        cell = f"{dataset}/{model}/seed{seed}"
        paths += [f"pretrain/{cell}", f"evaluate/{cell}/{DENSE}"]
        paths += [f"trace/{cell}/{curvature}" for curvature in settings.curvatures]
        for method in settings.methods:
            paths += [f"{stage}/{cell}/{method}" for stage in ("prune", "evaluate_unrecovered", "finetune", "evaluate")]
            network = f"{dataset}/{model}/{method}"
            paths += [f"reconstruct/{cell}/{method}"] if network in settings.reconstructed else []
            for scheme in settings.schemes:
                paths += [f"{stage}/{cell}/{method}/{scheme}" for stage in ("quantize", "evaluate")]
                paths += [f"deploy/{cell}/{method}/{scheme}"] if f"{network}/{scheme}" in settings.deployed else []
                paths += [f"latency/{cell}/{method}/{scheme}"] if f"{network}/{scheme}" in settings.timed else []
    own = [results / path / "record.json" for path in paths]
    return own + [path for folder in settings.also_read for path in sorted(Path(folder).rglob("record.json"))]


def page_records(results: Path, settings: Tables) -> list[Path]:
    """Return every record that the page of results reads: how many images there are, and those of the tables."""
    prepared = [results / "prepare" / dataset / "record.json" for dataset in settings.datasets]
    return prepared + record_paths(results, settings)


def page_files(results: Path, settings: Tables) -> list[Path]:
    """Return every file that the page of results reads: records, histories and plans."""
    records = page_records(results, settings)
    own = [path for path in records if results in path.parents]
    beside = [(path, BESIDE.get(path.relative_to(results).parts[0])) for path in own]
    return records + [path.with_name(name) for path, name in beside if name]


def canonical(values: dict[str, Any]) -> str:
    """Return JSON with sorted keys and no spaces."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"))
