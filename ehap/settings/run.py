"""One whole run: the grid, and every cell's settings, checked together when the configuration is read."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from inspect import signature
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

from ehap.errors import SettingsError
from ehap.settings.also_read import folders
from ehap.settings.build import build, mapping_at, unknown
from ehap.settings.deploy import ENGINE_BITS
from ehap.settings.machine import Machine
from ehap.settings.names import Grid, check_names, is_name
from ehap.settings.own_criterion import OF_IMAGES, asked, is_own
from ehap.settings.prepare import Prepare
from ehap.settings.prune import BUDGETS, HOW_MUCH, OwnCriterion, Prune, Rounds
from ehap.settings.qat import Qat
from ehap.settings.reconstruct import Reconstruct
from ehap.settings.stages import CATALOG, SETTINGS
from ehap.settings.sweeps import with_sweeps
from ehap.settings.tables import Tables
from ehap.settings.trace import Trace
from ehap.settings.training import Finetune, Pretrain

Kind = TypeVar("Kind")
OWN_RULES = ("prepare", "pretrain", "trace", "prune", "reconstruct", "finetune", "qat", "tables")
"""Stages whose settings a method of ``Run`` puts together."""


class Run:
    """A checked configuration, and the settings of each cell.

    The block of each stage (``prepare`` to ``latency``) holds settings by selector: ``all``, a dataset, a model, or
    ``dataset/model``; the more specific selector wins. A method may override ``prune``, ``reconstruct``, ``finetune``
    and ``qat``; a curvature overrides ``trace``; a scheme overrides ``qat``. A method whose budget is a list stands for
    one method a value: ``gate`` with ``params: [0.3, 0.1]`` for ``gate-30``, ``gate-10``; so does one with a list of
    images or draws.

    Raises:
        SettingsError: Anything in the mapping is unknown, missing, of a wrong type or out of range, for any cell.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config = with_sweeps(config)
        known = ("name", "grid", "machine", "also_read", *SETTINGS, "curvatures", "methods", "schemes")
        for key in config:
            if key not in known:
                raise unknown(str(key), str(key), known, "key")
        self.name = _name(config)
        self.machine = build(Machine, config.get("machine", {}), "machine")
        self.grid = build(Grid, config.get("grid", {}), "grid")
        self.also_read = folders(config)
        check_names(config, self.grid)
        for _ in self._every_setting():
            pass
        self.timed()
        self._check_files()

    def settings(self, stage: str, names: Mapping[str, str]) -> Any:
        """Return the settings of a stage for one cell.

        A stage with rules of its own has a method of its name here. For any other stage the selectors count, and the
        overrides of the method where the catalog allows them.

        Args:
            stage: A key of ``ehap.settings.stages.SETTINGS``, or ``tables``.
            names: Names of the cell: dataset, model, method, scheme and curvature, as far as the stage has them.
        """
        if stage in OWN_RULES:
            own = getattr(self, stage)
            return own(*(names[name] for name in signature(own).parameters))
        method = names.get("method", "")
        overridden = method and any(each.of_methods for each in CATALOG if each.name == stage)
        overrides = [(f"methods.{method}.{stage}", self._override(method, stage))] if overridden else []
        return self._built(SETTINGS[stage], stage, names["dataset"], names.get("model"), *overrides)

    def prepare(self, dataset: str) -> Prepare:
        """Return which images of ``dataset`` are used."""
        return self._built(Prepare, "prepare", dataset, None)

    def pretrain(self, dataset: str, model: str) -> Pretrain:
        """Return how the dense network of a cell is trained."""
        return self._built(Pretrain, "pretrain", dataset, model)

    def trace(self, dataset: str, model: str, curvature: str) -> Trace:
        """Return how the traces named ``curvature`` are computed."""
        block = self._named("curvatures", curvature)
        return self._built(Trace, "trace", dataset, model, (f"curvatures.{curvature}", block))

    def prune(self, dataset: str, model: str, method: str) -> Prune:
        """Return the criterion and the budget of a method."""
        block = self._named("methods", method)
        return self._built(
            Prune,
            "prune",
            dataset,
            model,
            (f"methods.{method}", {"criterion": block.get("criterion")}),
            (f"methods.{method}.prune", self._override(method, "prune")),
        )

    def rounds(self, dataset: str, model: str, method: str) -> Rounds:
        """Return the criterion and the budget of a method that prunes in rounds, and how each round is scored."""
        curvature = self.curvature(method)
        assert curvature is not None  # see Prune: only criteria from a curvature have rounds
        return Rounds(prune=self.prune(dataset, model, method), trace=self.trace(dataset, model, curvature))

    def own_criterion(self, dataset: str, model: str, method: str) -> OwnCriterion:
        """Return the budget of a method that ranks by a function of the user's, and how many images that gets."""
        prune = self.prune(dataset, model, method)
        try:
            wanted = set(OF_IMAGES) & set(asked(prune.criterion, Path.cwd()))
        except SettingsError as error:
            raise SettingsError(f"methods.{method}: {error}") from None
        size = self._built(Trace, "trace", dataset, model).batch_size if wanted else 0
        return OwnCriterion(prune=prune, batch_size=size)

    def own_criteria(self) -> tuple[str, ...]:
        """Return the functions of the user's by which methods of the grid rank, each once."""
        cells = product(self.grid.datasets, self.grid.models, self.grid.methods)
        return tuple(dict.fromkeys(name for name in (self.prune(*cell).criterion for cell in cells) if is_own(name)))

    def reconstruct(self, dataset: str, model: str, method: str) -> Reconstruct:
        """Return how the pruned network is repaired without labels; with no images, not at all."""
        override = self._override(method, "reconstruct")
        settings = self._built(Reconstruct, "reconstruct", dataset, model, (f"methods.{method}.reconstruct", override))
        prune = self.prune(dataset, model, method)
        if settings.images and (prune.rule == "as_published" or prune.reinitialize):
            raise SettingsError(
                f"methods.{method}: a network with prune.rule as_published or prune.reinitialize cannot be "
                "reconstructed; write reconstruct: {images: 0}."
            )
        return settings

    def reconstructed(self) -> tuple[str, ...]:
        """Return which networks of the grid are repaired without labels: dataset/model/method."""
        cells = product(self.grid.datasets, self.grid.models, self.grid.methods)
        return tuple("/".join(cell) for cell in cells if self.reconstruct(*cell).images)

    def repair_images(self) -> tuple[int, ...]:
        """Return the numbers of images, in rising order, on which networks of the grid are repaired."""
        cells = (self.reconstruct(*name.split("/")).images for name in self.reconstructed())
        return tuple(sorted(set(cells)))

    def finetune(self, dataset: str, model: str, method: str) -> Finetune:
        """Return how the pruned network is trained on: from new weights, as in pretraining, for the epochs of both."""
        override = self._override(method, "finetune")
        settings = self._built(Finetune, "finetune", dataset, model, (f"methods.{method}.finetune", override))
        if not self.prune(dataset, model, method).reinitialize:
            return settings
        first = self.pretrain(dataset, model)
        if not first.epochs and not {"epochs", "learning_rate"} <= set(override):
            raise SettingsError(
                f"methods.{method}: prune.reinitialize trains as in pretrain, which has no epochs here: its weights "
                "are given; write the epochs and learning_rate of the whole training under finetune of the method."
            )
        own = {name: getattr(settings, name) for name in override}
        shared = {name: value for name, value in asdict(first).items() if name != "weights"}
        return Finetune(**shared | own | {"epochs": first.epochs + settings.epochs})

    def qat(self, dataset: str, model: str, method: str, scheme: str) -> Qat:
        """Return how the fine-tuned network is quantized."""
        return self._built(
            Qat,
            "qat",
            dataset,
            model,
            (f"schemes.{scheme}", self._named("schemes", scheme)),
            (f"methods.{method}.qat", self._override(method, "qat")),
        )

    def deployed(self) -> tuple[str, ...]:
        """Return which networks become files for an engine, dataset/model/method/scheme.

        Where there is a block ``deploy``, those with activations of 8 bits, if their pruning is not that of rule
        as_published.
        """
        if "deploy" not in self._config:
            return ()
        cells = product(self.grid.datasets, self.grid.models, self.grid.methods, self.grid.schemes)
        return tuple(
            "/".join(cell)
            for cell in cells
            if self.qat(*cell).width_of_activations == ENGINE_BITS and self.prune(*cell[:3]).rule != "as_published"
        )

    def timed(self) -> tuple[str, ...]:
        """Return which networks are timed, dataset/model/method/scheme: all deployed, given a block ``latency``."""
        if "latency" not in self._config:
            return ()
        if "deploy" not in self._config:
            raise SettingsError(
                "latency: expected a block deploy beside it, whose networks are timed, but there is none."
            )
        return self.deployed()

    def curvature(self, method: str) -> str | None:
        """Return the name of the traces that ``method`` ranks by; None where it needs none."""
        value = self._named("methods", method).get("curvature")
        return None if value is None else str(value)

    def curvatures(self) -> tuple[str, ...]:
        """Return the curvatures that the methods of the grid name, each once, in order."""
        return tuple(dict.fromkeys(name for name in map(self.curvature, self.grid.methods) if name))

    def tables(self) -> Tables:
        """Return whose records the tables show."""
        return Tables(
            **asdict(self.grid),
            curvatures=self.curvatures(),
            reconstructed=self.reconstructed(),
            deployed=self.deployed(),
            timed=self.timed(),
            also_read=self.also_read,
        )

    def _built(
        self, kind: type[Kind], stage: str, dataset: str, model: str | None, *overrides: tuple[str, Mapping[str, Any]]
    ) -> Kind:
        selectors = ["all", dataset] + ([model, f"{dataset}/{model}"] if model else [])
        block = mapping_at(self._config, stage)
        merged: dict[str, Any] = {}
        origins: dict[str, str] = {}
        where = stage
        for name, layer in [(f"{stage}.{selector}", block.get(selector) or {}) for selector in selectors] + [
            *overrides
        ]:
            if any(budget in layer for budget in BUDGETS):  # a more specific budget replaces one of the other kind
                merged = {key: value for key, value in merged.items() if key not in HOW_MUCH}
            merged.update(layer)
            origins.update(dict.fromkeys(layer, name))
            where = name if layer else where
        return build(kind, merged, where, origins)

    def _named(self, block: str, name: str) -> Mapping[str, Any]:
        value: Mapping[str, Any] = mapping_at(self._config, block).get(name) or {}
        return value

    def _override(self, method: str, stage: str) -> Mapping[str, Any]:
        value: Mapping[str, Any] = self._named("methods", method).get(stage, {})
        return value

    def _check_criterion(self, dataset: str, model: str, method: str) -> None:
        curvature, criterion = self.curvature(method), self.prune(dataset, model, method).criterion
        if curvature is None:
            return
        trace = self.trace(dataset, model, curvature)
        if criterion not in trace.criteria:
            raise SettingsError(
                f"methods.{method}: criterion {criterion} needs a curvature that computes it, and {curvature} computes "
                f"{', '.join(trace.criteria)}; add it to curvatures.{curvature}.criteria (estimator exact)."
            )
        if self.prune(dataset, model, method).rounds > 1 and trace.estimator != "exact":
            raise SettingsError(
                f"methods.{method}: rounds above 1 compute traces anew in each; expected a curvature of estimator "
                f"exact, got {curvature} of estimator {trace.estimator}."
            )

    def _check_files(self) -> None:
        """Raise unless there is every file of weights, and every function of the user's by which a method ranks."""
        for dataset, model, method in product(self.grid.datasets, self.grid.models, self.grid.methods):
            if is_own(self.prune(dataset, model, method).criterion):
                self.own_criterion(dataset, model, method)
        for dataset, model, seed in product(self.grid.datasets, self.grid.models, self.grid.seeds):
            file = self.pretrain(dataset, model).file(dataset, model, seed)
            if file and not Path(file).is_file():
                raise SettingsError(
                    f"pretrain: expected a file of weights for {model} on {dataset}, seed {seed}, but there is none at "
                    f"{file}."
                )

    def _every_setting(self) -> Iterator[object]:
        grid = self.grid
        plain = [stage for stage in SETTINGS if stage not in OWN_RULES]
        yield from map(self.prepare, grid.datasets)
        for dataset, model in product(grid.datasets, grid.models):
            yield self.pretrain(dataset, model)
            yield from (self.settings(stage, {"dataset": dataset, "model": model}) for stage in plain)
            yield from (self.trace(dataset, model, str(name)) for name in mapping_at(self._config, "curvatures"))
            for method in map(str, mapping_at(self._config, "methods")):  # also those that this grid does not use
                yield self.prune(dataset, model, method)
                self._check_criterion(dataset, model, method)
                yield self.reconstruct(dataset, model, method)
                yield self.finetune(dataset, model, method)
                yield from (self.qat(dataset, model, method, str(name)) for name in mapping_at(self._config, "schemes"))


def _name(config: Mapping[str, Any]) -> str:
    name = config.get("name")
    if not is_name(name):
        raise SettingsError(f"name: expected letters, digits, - and _ (the folder under results/), got {name!r}.")
    return str(name)
