"""The parts of a session, the most important first, and the steps of each."""

from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ehap.session.steps import Step
from ehap.workflow.catalog import gpu_percent
from ehap.workflow.digest import source_digest

ROOT = Path(__file__).parents[2]
LEAST_COSTS, LEAST_TESTS, LEAST_TRAINING, LEAST_PREPARE = 60.0, 45.0, 60.0, 30.0
"""Seconds below which a step is not begun: torch and the GPU take most of them to start."""
BATCHES = {"resnet20": 512, "resnet32": 512, "resnet56": 512, "wrn28_8": 256}
OF_THE_PAPER = ("resnet32", "resnet56", "wrn28_8")
SMALL_BATCH, SMALL_PRODUCTS = 8, 2
MARK = "@pytest.mark.gpu"
TRAINING_ARCHIVES = 4
SMALL_RUN: dict[str, Any] = {
    "name": "rehearsal",
    "grid": {"datasets": ["digits"], "models": ["resnet20"], "seeds": [0], "methods": ["random"], "schemes": []},
    "prepare": {"all": {"train_images": 64, "test_images": 32}},
    "pretrain": {"all": {"epochs": 1, "learning_rate": 0.05, "batch_size": 32}},
    "prune": {"all": {"params": 0.3}},
    "finetune": {"all": {"epochs": 1, "learning_rate": 0.01, "batch_size": 32}},
    "methods": {"random": {"criterion": "random"}},
}
"""A run for rehearsals: one epoch on a few handwritten digits."""


@dataclass(frozen=True)
class Part:
    """A part of a session: its steps, its files and the number of its archives.

    root: Names in the archives are relative to it. files: Returns the files at the time, the most important first.
    """

    name: str
    root: Path
    steps: Sequence[Step]
    files: Callable[[], list[Path]]
    archives: int = 1
    side_by_side: int = 1


def costs(args: Namespace, scratch: Path) -> Part:
    """Return the part for Tables III and IV: one step a model, with all precisions and forms, then profiles."""
    root = scratch / "costs"
    code = source_digest(ROOT / "ehap/session/costs.py", ROOT, ROOT / "envs/lock.txt")
    batches = dict.fromkeys(args.models, SMALL_BATCH) if args.rehearse else BATCHES
    steps = []
    for model in args.models:
        command = ["-m", "ehap.session.costs", "--model", model, "--batch", str(batches[model]), "--code", code]
        command += ["--products", str(SMALL_PRODUCTS if args.rehearse else args.products), "--folder", str(root)]
        command += ["--precisions", *args.precisions, *_where(args)]
        steps.append(Step(model, command, root / model / "log.txt", LEAST_COSTS))
    return Part("costs", root, steps, lambda: _all_under(root))


def tests(args: Namespace, scratch: Path) -> Part:
    """Return the part with all tests marked ``gpu``; other test files are not read, since they need more packages."""
    root = scratch / "tests"
    files = [str(path) for path in sorted((ROOT / "tests").rglob("test_*.py")) if MARK in path.read_text()]
    command = ["-m", "pytest", "-m", "gpu", "-v", "-ra", "-p", "no:cacheprovider", "-W", "default"]
    command += [f"--junitxml={root / 'junit.xml'}", f"--rootdir={ROOT}", *files]
    step = Step("pytest -m gpu", command, root / "log.txt", LEAST_TESTS, tells=True)
    return Part("tests", root, [step], lambda: _all_under(root))


def trainings(args: Namespace, scratch: Path) -> Part:
    """Return the part that goes on with the trainings of a run; a dataset that is not prepared yet is read first.

    Raises:
        SettingsError: The configuration is wrong, or has no such training.
    """
    from ehap.session.cells import every_cell, read_cells, start_of
    from ehap.workflow.configuration import read_run  # needs PyYAML; the other parts do not

    run = read_run(args.config)
    results, states = args.root / "results" / run.name, args.root / "state" / run.name
    ready = [cell for cell in every_cell(run).values() if all(map(Path.is_file, start_of(cell, run, results)))]
    begun = sorted(ready, key=lambda cell: not (states / cell.name / "state.pt").is_file())
    cells = read_cells(args.cells, run) if args.cells else begun
    common = ["-m", "ehap.session.trainings", "--config", str(args.config), "--root", str(args.root), *_where(args)]
    steps = []
    logs = args.root / "logs" / "gpu_session"
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        if not (results / "prepare" / dataset / "data.safetensors").is_file():
            log = logs / f"prepare_{dataset}.txt"
            steps.append(Step(f"prepare {dataset}", [*common, "--prepare", dataset], log, LEAST_PREPARE, alone=True))
    for cell in cells:
        step = Step(cell.name, [*common, "--cell", cell.name], logs / cell.name / "log.txt", LEAST_TRAINING)
        if (results / cell.name / "record.json").is_file():
            step = Step(cell.name, (), step.log, 0, state="ended", note="it had ended before")
        steps.append(step)
    folders = [folder / cell.name for cell in cells for folder in (results, states)]

    def files() -> list[Path]:
        found = [step.log for step in steps if step.log.is_file()]
        found += [path for folder in folders for path in _all_under(folder)]
        return [path for path in found if path.name not in ("lock", "previous.pt", "next.pt") and path.suffix != ".tmp"]

    widest = max((gpu_percent(run.machine, cell.stage, cell.model) for cell in cells), default=0)
    together = args.side_by_side or (100 // widest if widest and args.device != "cpu" else 1)
    return Part("trainings", args.root, steps, files, TRAINING_ARCHIVES, together)


PARTS: dict[str, Callable[[Namespace, Path], Part]] = {"costs": costs, "tests": tests, "trainings": trainings}


def _where(args: Namespace) -> list[str]:
    data = [] if args.data is None else ["--data", str(args.data)]
    return ["--device", args.device, "--threads", str(args.threads), *data]


def _all_under(folder: Path) -> list[Path]:
    """Return the files below a folder, small ones first: records before tables, tables before weights."""
    sized = []
    for path in folder.rglob("*"):
        try:
            if path.is_file():
                sized.append((path.stat().st_size, path))
        except FileNotFoundError:  # replaced by a newer one just now
            continue
    return [path for _, path in sorted(sized)]
