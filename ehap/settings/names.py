"""The names that a configuration may use, and their check."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

from ehap.errors import SettingsError
from ehap.settings.build import check_keys, mapping_at, unknown
from ehap.settings.criteria import FROM_CURVATURE
from ehap.settings.renamed import refuse_renamed
from ehap.settings.stages import CATALOG, SETTINGS


@dataclass(frozen=True, kw_only=True)
class Model:
    """Facts about a model, known without building it.

    title: Name in tables and on pages.
    gflops: GFLOPs of one image, for 10 classes. With it, a model without records gets estimates of time from another
        model's records. None: estimates come from its own records only.
    wide: Whether a GPU holds fewer of its trainings side by side, see ``WIDE_PER_GPU``.
    """

    title: str
    gflops: float | None = None
    wide: bool = False


# As a configuration names them, and as tables and pages do.
DATASETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "digits": "digits"}
NETWORKS = {
    "resnet20": Model(title="ResNet-20", gflops=0.0816),
    "resnet32": Model(title="ResNet-32", gflops=0.1382),
    "resnet56": Model(title="ResNet-56", gflops=0.2515),
    "wrn28_8": Model(title="WRN-28-8", gflops=6.7202, wide=True),
}
MODELS = {name: model.title for name, model in NETWORKS.items()}
DENSE = "dense"  # the method name under which tables show the network before pruning
OF_METHODS = tuple(stage.name for stage in CATALOG if stage.of_methods)
SEEDS = 2**31


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The points of a run: every combination of the five lists is a cell.

    datasets: Images to train and test on.
    models: Networks to prune.
    seeds: Seeds of weights, batches and random vectors, from 0 on.
    methods: Names of blocks under ``methods``.
    schemes: Names of blocks under ``schemes``; an empty list: nothing is quantized.
    """

    datasets: tuple[str, ...]
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    methods: tuple[str, ...]
    schemes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Order:
    """The order in which a picture shows networks.

    methods: Methods by their names in the grid.
    schemes: Schemes by their names in the grid.
    """

    methods: tuple[str, ...]
    schemes: tuple[str, ...] = ()


CHOICES: dict[str, tuple[str, ...]] = {"datasets": tuple(DATASETS), "models": tuple(MODELS)}
"""Values of the grid's lists that the code fixes, not the configuration."""


def check_names(config: Mapping[str, Any], grid: Grid) -> None:
    """Raise SettingsError where a name of the grid, a block, a selector or a setting is not known."""
    for field in ("datasets", "models", "seeds", "methods"):
        if not getattr(grid, field):
            raise SettingsError(f"grid.{field}: expected at least one entry, got an empty list.")
    for field, entries in asdict(grid).items():
        if len(set(entries)) < len(entries):
            raise SettingsError(f"grid.{field}: expected each entry once, got {list(entries)}.")
    for field, names in CHOICES.items():
        _check_all(f"grid.{field}", getattr(grid, field), names, field.removesuffix("s"))
    _check_all("grid.methods", grid.methods, mapping_at(config, "methods"), "method")
    _check_all("grid.schemes", grid.schemes, mapping_at(config, "schemes"), "scheme")
    for seed in grid.seeds:
        if not 0 <= seed < SEEDS:
            raise SettingsError(f"grid.seeds: expected whole numbers from 0 to {SEEDS - 1}, got {seed}.")
    for block in ("methods", "schemes", "curvatures"):
        for name in mapping_at(config, block):
            if name == DENSE or not is_name(name):
                raise SettingsError(
                    f"{block}.{name}: a name has letters, digits, - and _ (it is a folder), and is not {DENSE!r}."
                )
    for stage in SETTINGS:
        known = ("all", *DATASETS) if stage == "prepare" else selectors()
        _check_all(stage, mapping_at(config, stage), known, "selector")
        _check_blocks(stage, config, stage)
    _check_blocks("trace", config, "curvatures")
    _check_blocks("qat", config, "schemes")
    for method, block in mapping_at(config, "methods").items():
        _check_method(config, str(method), block)


def _check_method(config: Mapping[str, Any], method: str, block: Any) -> None:
    where = f"methods.{method}"
    if not isinstance(block, Mapping):
        raise SettingsError(f"{where}: expected a mapping of settings, got {block!r}.")
    _check_all(where, block, ("curvature", "criterion", *OF_METHODS), "setting")
    for stage in OF_METHODS:
        _check_block(stage, block.get(stage, {}), f"{where}.{stage}")
    if "criterion" in block.get("prune", {}):
        raise SettingsError(f"{where}.prune.criterion: give the criterion in {where} itself.")
    curvature, criterion = block.get("curvature"), block.get("criterion")
    if curvature is not None:
        _check_all(f"{where}.curvature", [curvature], mapping_at(config, "curvatures"), "curvature")
    if criterion in FROM_CURVATURE and curvature is None:
        raise SettingsError(f"{where}: criterion {criterion} needs a curvature; name one of the block curvatures.")
    if curvature is not None and criterion not in FROM_CURVATURE:
        raise SettingsError(
            f"{where}: only the criteria {', '.join(FROM_CURVATURE)} use a curvature, got {criterion!r}."
        )


def is_name(name: object) -> bool:
    """Return whether this can name a folder: letters, digits, - and _."""
    return isinstance(name, str) and name.replace("-", "").replace("_", "").isalnum() and name.isascii()


def _check_all(where: str, names: Any, allowed: Any, noun: str) -> None:
    for name in names:
        if name not in tuple(allowed):
            raise unknown(where, str(name), allowed, noun)


def _check_blocks(stage: str, config: Mapping[str, Any], key: str) -> None:
    """Check the keys of every named block, including blocks that this grid does not use."""
    for name, block in mapping_at(config, key).items():
        _check_block(stage, {} if block is None else block, f"{key}.{name}")


def _check_block(stage: str, block: Any, where: str) -> None:
    if isinstance(block, Mapping):
        refuse_renamed(stage, block, where)
    check_keys(SETTINGS[stage], block, where)


def selectors() -> tuple[str, ...]:
    """Return the selectors for which the block of a stage can hold settings."""
    return ("all", *DATASETS, *MODELS, *(f"{dataset}/{model}" for dataset, model in product(DATASETS, MODELS)))
