"""The material of the page, as the stage has read it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import pandas

from ehap.results.families import Families, colours_of, families
from ehap.results.order import TESTED

SNAKEMAKE = ".venv/bin/snakemake"
HEAD = ["stage", "dataset", "model", "method", "scheme", "curvature", "seed", "device", "instructions"]

PAPER, PAPER_SETTINGS = "config/paper_results.csv", "config/paper_settings.csv"


@dataclass(frozen=True)
class Plan:
    """Channels of one pruned network.

    kept: Layer to its kept channels. widths: Layer to its dense width. unions: Number of residual sums with different
    channels on their two sides. union_channels: Number of their channels. out_of_order: Number of channels that an
    unsorted set would put elsewhere.
    """

    dataset: str
    model: str
    seed: int
    method: str
    device: str
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
    """The parts of a run that are there, read and checked.

    - name: Name of the run.
    - commit: Commit of the project, or a note that there is none.
    - options: Options of a command that choose the run's configuration.
    - records: Path and content of each.
    - missing: Stage to the files that the run has not made yet.
    - values, settings, frames: Tables as ``tables`` makes them; frames by the name of the table.
    - histories: dataset, model, seed, method, scheme, stage, epoch, train_accuracy, test_accuracy.
    - printed: The paper's numbers as ``tables`` reads them; printed_raw, printed_settings: the unchanged files.
    - benches: Path of a CSV to its rows.
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
        """Return the numbers of the records that match every condition; a tuple allows any of its values."""
        chosen = pandas.Series(True, index=self.heads.index)
        for column, wanted in where.items():
            allowed = wanted if isinstance(wanted, tuple) else (wanted,)
            chosen &= self.heads[column].isin(allowed)
        return tuple(int(index) for index in self.heads.index[chosen])

    @cached_property
    def evidence(self) -> list[dict[str, Any]]:
        """Return all sources of numbers: the records, the rows of benchmarks, and the paper's numbers.

        Each has path, values (name to value and unit), settings, and further fields of its file.
        """
        found: list[dict[str, Any]] = [{"path": path, **record} for path, record in self.records]
        for path, bench in self.benches.items():
            found += [_evidence(path, row, {"line": line}) for line, row in enumerate(_rows(bench), start=2)]
        for path, printed in ((PAPER, self.printed_raw), (PAPER_SETTINGS, self.printed_settings)):
            found += [
                _evidence(path, row, {"of": "the paper", "line": line}) for line, row in enumerate(_rows(printed), 2)
            ]
        return found

    def bench_sources(self, path: str, *rows: object) -> tuple[int, ...]:
        """Return the positions in ``evidence`` of rows of a benchmark, given by their index."""
        ahead = len(self.records)
        for file, bench in self.benches.items():
            if file == path:
                return tuple(ahead + bench.index.tolist().index(row) for row in rows)
            ahead += len(bench)
        return ()

    def printed_sources(self, *rows: object, settings: bool = False) -> tuple[int, ...]:
        """Return the positions in ``evidence`` of rows of the paper's numbers, or settings."""
        ahead = len(self.records) + sum(map(len, self.benches.values()))
        printed = self.printed_settings if settings else self.printed_raw
        ahead += len(self.printed_raw) if settings else 0
        return tuple(ahead + printed.index.tolist().index(row) for row in rows)

    def bench(self, start: str) -> dict[str, pandas.DataFrame]:
        """Return the benchmarks by their path; their file names begin with ``start``."""
        return {path: frame for path, frame in self.benches.items() if path.rsplit("/", 1)[-1].startswith(start)}

    @cached_property
    def seeds_there(self) -> str:
        """Return the seeds that have networks, and the run's seeds that have none yet, as text."""
        there = sorted({int(record.get("seed", 0)) for _, record in self.records if "model" in record})
        lacking = sorted(set(self.seeds) - set(there))
        said = ", ".join(map(str, there))
        return said + (f"{' ' if said else ''}(not yet: {', '.join(map(str, lacking))})" if lacking else "")

    def instructions(self, device: str) -> list[str]:
        """Return the instruction sets of the processors of that name; an empty text for records without them."""
        return [str(sets) for sets in self.heads[self.heads["device"] == device]["instructions"].unique()]

    @cached_property
    def families(self) -> Families:
        """Return which methods belong to one sweep, and which differ in their draw of images only."""
        return families(self.settings)

    @cached_property
    def colours(self) -> dict[str, int]:
        """Return method family to the number of its colour, the same in every picture."""
        return colours_of(self.values, self.families)

    @cached_property
    def several_devices(self) -> bool:
        """Say whether networks were tested on more than one device."""
        tested = self.values[self.values["stage"].isin(TESTED)]
        return tested["device"].nunique() > 1

    def on_device(self, method: str, device: str) -> str:
        """Return a method's name, with the device where networks of several stand on the page."""
        return f"{method} on {device}" if self.several_devices else method

    @cached_property
    def as_published(self) -> list[str]:
        """Return the methods that follow the published code: its traces, or its pruner's rule."""
        said = self.settings[self.settings["value"].map(str).isin(["True", "as_published"])]
        traces = said[(said["stage"] == "trace") & (said["setting"] == "as_published")]["curvature"]
        pruned = self.heads[self.heads["stage"] == "prune"]
        ruled = said[(said["stage"] == "prune") & (said["setting"] == "rule")]["method"]
        chosen = pruned["curvature"].isin(traces) | pruned["method"].isin(ruled)
        return list(dict.fromkeys(pruned[chosen]["method"].map(str)))

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


def _rows(frame: pandas.DataFrame) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", frame.to_dict("records"))


def _evidence(path: str, row: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of a file as the page shows it; empty cells are left out."""
    there = {name: value for name, value in row.items() if value != "" and not pandas.isna(value)}
    return {"path": path, "values": {}, "settings": {}, "said": {**said, **there}}
