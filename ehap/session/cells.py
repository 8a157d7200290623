"""The trainings of a run that a session can go on with, by the names of their folders in results/<run>."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from ehap.errors import SettingsError
from ehap.settings import Run

STAGES = ("pretrain", "finetune")


@dataclass(frozen=True)
class Cell:
    """One training; ``method`` is empty where the dense network is trained."""

    stage: str
    dataset: str
    model: str
    seed: int
    method: str = ""

    @property
    def name(self) -> str:
        """Folder of the training, e.g. ``finetune/cifar10/resnet56/seed0/hap``."""
        return "/".join(filter(None, (self.stage, self.dataset, self.model, f"seed{self.seed}", self.method)))


def every_cell(run: Run) -> dict[str, Cell]:
    """Return all trainings of a run, by name: first the dense networks, then the pruned ones."""
    grid = run.grid
    cells = [Cell("pretrain", *where) for where in product(grid.datasets, grid.models, grid.seeds)]
    cells += [Cell("finetune", *where) for where in product(grid.datasets, grid.models, grid.seeds, grid.methods)]
    return {cell.name: cell for cell in cells}


def read_cells(names: Sequence[str], run: Run) -> list[Cell]:
    """Return the cells of these names, in their order.

    Raises:
        SettingsError: A name is none of the run's trainings.
    """
    known = every_cell(run)
    for name in names:
        if name not in known:
            some = ", ".join(list(known)[:4])
            raise SettingsError(f"cell {name}: run {run.name} has no such training; it has {len(known)}, e.g. {some}.")
    return [known[name] for name in names]


def start_of(cell: Cell, run: Run, results: Path) -> list[Path]:
    """Return the networks that a training starts from: the pruned or repaired one, and a teacher if it has one."""
    if cell.stage == "pretrain":
        file = run.pretrain(cell.dataset, cell.model).file(cell.dataset, cell.model, cell.seed)
        return [Path(file)] if file else []
    repaired = run.reconstruct(cell.dataset, cell.model, cell.method).images
    source = replace(cell, stage="reconstruct" if repaired else "prune")
    teacher = replace(cell, stage="pretrain", method="")
    taught = run.finetune(cell.dataset, cell.model, cell.method).distill
    return [results / each.name / "model.safetensors" for each in ([source, teacher] if taught else [source])]
