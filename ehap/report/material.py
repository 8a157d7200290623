"""All that the page is made from, as the stage has read it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas

SNAKEMAKE = ".venv/bin/snakemake"
HEAD = ["stage", "dataset", "model", "method", "scheme", "curvature", "seed", "device"]


@dataclass(frozen=True)
class Plan:
    """What one pruned network keeps.

    kept: Layer to its kept channels. widths: Layer to its dense width. unions: Residual sums whose two sides carry
    different channels; union_channels: Their channels; out_of_order: Those that an unsorted set would put elsewhere.
    """

    dataset: str
    model: str
    seed: int
    method: str
    kept: Mapping[str, int]
    widths: Mapping[str, int]
    unions: int
    union_channels: int
    out_of_order: int


@dataclass(frozen=True)
class Limit:
    """Which channels of a layer of ``width`` the limit leaves, by our rule and by the published one; 0 is the worst."""

    width: int
    ours: Sequence[int]
    published: Sequence[int]


@dataclass(frozen=True)
class Material:
    """What there is of a run, read and checked.

    name: Of the run. commit: Of the project, or that there is none. options: What a command says of the run's
    configuration. records: Path and content of each. missing: Stage to the files that the run is to make still.
    values, settings, and frames: As ``tables`` makes them; frames by the name of the table. histories: dataset, model,
    seed, method, scheme, stage, epoch, train_accuracy, test_accuracy. printed: The paper's numbers as ``tables`` reads
    them; printed_raw and printed_settings: As the files hold them. benches: Path of a CSV to its rows.
    """

    name: str
    commit: str
    options: str
    seeds: Sequence[int]
    datasets: Sequence[str]
    models: Sequence[str]
    records: Sequence[tuple[str, Mapping[str, Any]]]
    missing: Mapping[str, Sequence[str]]
    values: pandas.DataFrame
    settings: pandas.DataFrame
    frames: Mapping[str, pandas.DataFrame]
    histories: pandas.DataFrame
    plans: Sequence[Plan]
    limits: Sequence[Limit]
    printed: pandas.DataFrame
    printed_raw: pandas.DataFrame
    printed_settings: pandas.DataFrame
    benches: Mapping[str, pandas.DataFrame]

    def command(self, target: str = "") -> str:
        """Return the command that makes a file of the run, or all of it.

        The file comes first: an option that takes several words would take it, too.
        """
        return " ".join(filter(None, [SNAKEMAKE, target, self.options]))

    @cached_property
    def heads(self) -> pandas.DataFrame:
        """Return one row a record, its number as the index: HEAD."""
        rows = [{key: record.get(key, "") for key in HEAD} for _, record in self.records]
        return pandas.DataFrame(rows, columns=HEAD)

    def sources(self, **where: object) -> tuple[int, ...]:
        """Return the numbers of the records of which all that is said is true; a tuple allows any of its values."""
        chosen = pandas.Series(True, index=self.heads.index)
        for column, wanted in where.items():
            allowed = wanted if isinstance(wanted, tuple) else (wanted,)
            chosen &= self.heads[column].isin(allowed)
        return tuple(int(index) for index in self.heads.index[chosen])

    def bench(self, start: str) -> dict[str, pandas.DataFrame]:
        """Return the benchmarks whose file names begin so."""
        return {path: frame for path, frame in self.benches.items() if path.rsplit("/", 1)[-1].startswith(start)}

    @cached_property
    def several_devices(self) -> bool:
        """Say whether networks were tested on more than one device."""
        tested = self.values[self.values["stage"].isin(["evaluate", "reconstruct"])]
        return tested["device"].nunique() > 1

    def value(self, stage: str, quantity: str, **where: object) -> pandas.Series:
        """Return all values of a quantity."""
        return self._rows(stage, quantity, where)["value"]

    def by_seed(self, stage: str, quantity: str, **where: object) -> dict[int, float]:
        """Return the same as seed to value."""
        rows = self._rows(stage, quantity, where)
        return {int(seed): float(value) for seed, value in zip(rows["seed"], rows["value"], strict=True)}

    def _rows(self, stage: str, quantity: str, where: Mapping[str, object]) -> pandas.DataFrame:
        rows = self.values[(self.values["stage"] == stage) & (self.values["quantity"] == quantity)]
        for column, wanted in where.items():
            rows = rows[rows[column] == wanted]
        return rows
