"""``python -m ehap.session.trainings``: go on with one training of a run, without Snakemake.

The job is that of the workflow's script, with the same digest of the code. So each of them goes on from a state that
the other has left.
"""

import argparse
import logging
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ehap.artifacts.job import Files, Job
from ehap.data import DATASETS
from ehap.errors import CheckpointError, EhapError, StoppedError
from ehap.evaluation import parameters
from ehap.models import build_model
from ehap.records import Identity
from ehap.session.archive import MOST_BYTES
from ehap.session.cells import Cell, read_cells, start_of
from ehap.settings import Machine, Run
from ehap.stages import finetune, prepare, pretrain
from ehap.workflow.configuration import read_run
from ehap.workflow.digest import source_digest

ROOT = Path(__file__).parents[2]
SECONDS_BETWEEN_STATES = 20.0
STOPPED = 143  # as a shell reports a job that SIGTERM ended


@dataclass(frozen=True)
class Place:
    """The folders of a run: results/<run> and state/<run> under ``root``."""

    root: Path
    run: Run

    @property
    def results(self) -> Path:
        """Outputs."""
        return self.root / "results" / self.run.name

    @property
    def states(self) -> Path:
        """States of jobs that were cut off."""
        return self.root / "state" / self.run.name

    def data(self, dataset: str) -> Path:
        """Return the file of the prepare stage."""
        return self.results / "prepare" / dataset / "data.safetensors"


def code_of(stage: str) -> str:
    """Return the digest of a stage's script, as in Snakemake's rule."""
    return source_digest(ROOT / "workflow_scripts" / f"{stage}.py", ROOT, ROOT / "envs" / "lock.txt")


def make_data(place: Place, dataset: str, machine: Machine) -> None:
    """Run the stage prepare, if its data is not there yet."""
    path = place.data(dataset)
    if path.is_file():
        return
    written = path.with_name("unfinished.safetensors")
    job = Job(
        identity=Identity(stage="prepare", dataset=dataset, code=code_of("prepare")),
        settings=place.run.prepare(dataset),
        outputs={"data": written, "record": path.with_name("record.json")},
        machine=machine,
    )
    prepare.run(job)
    written.replace(path)


def train(place: Place, cell: Cell, machine: Machine) -> None:
    """Go on with a cell's training to its end, or until the process is told to stop.

    Raises:
        CheckpointError: A network that it starts from is missing, or its state would not fit into an archive.
        StoppedError: It was told to stop; the state is kept.
    """
    start = start_of(cell, place.run, place.results)
    for path in start:
        if not path.is_file():
            raise CheckpointError(f"{cell.name}: it starts from {path}, which is not here; carry that file along.")
    if cell.stage == "pretrain":
        _check_size(4 * parameters(build_model(cell.model, DATASETS[cell.dataset].classes)), cell)
        dense = _job(place, cell, machine, dict(zip(("weights",), start, strict=False)))
        pretrain.run(dense.with_settings(place.run.pretrain(cell.dataset, cell.model)))
        return
    _check_size(start[0].stat().st_size, cell)
    pruned = _job(place, cell, machine, dict(zip(("pruned", "teacher"), start, strict=False)))
    finetune.run(pruned.with_settings(place.run.finetune(cell.dataset, cell.model, cell.method)))


def _job(place: Place, cell: Cell, machine: Machine, start: Files) -> Job[None]:
    """Return a cell's job as the workflow's script makes it, without settings; ``start`` are its networks by name."""
    folder, names = place.results / cell.name, ("dataset", "model", "seed", "method")
    identity = Identity(stage=cell.stage, code=code_of(cell.stage), **{name: getattr(cell, name) for name in names})
    return Job(
        identity=identity,
        settings=None,
        inputs={"data": place.data(cell.dataset), **start},
        outputs={
            "checkpoint": folder / "model.safetensors",
            "history": folder / "history.csv",
            "record": folder / "record.json",
        },
        machine=machine,
        states=place.states,
    )


def _check_size(weight_bytes: int, cell: Cell) -> None:
    """Raise unless weights and momentum of a network fit into an archive: the state would be lost."""
    if 2 * weight_bytes > MOST_BYTES:
        raise CheckpointError(
            f"{cell.name}: its state takes {2 * weight_bytes / 2**20:.0f} MiB, an archive at most "
            f"{MOST_BYTES / 2**20:.0f}; train it on a machine where its files can stay."
        )


def machine_of(run: Run, device: Literal["auto", "cpu", "cuda"], threads: int, data: Path | None) -> Machine:
    """Return the run's machine with the device, threads and data of this one."""
    return replace(
        run.machine,
        device=device,
        threads=threads,
        data_folder=run.machine.data_folder if data is None else str(data),
        download=False,
        tensorboard=False,
        seconds_between_states=SECONDS_BETWEEN_STATES,
    )


def main() -> None:
    """Read the command line; a deliberate error is one line, and a signal to stop the exit code 143."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--cell")
    what.add_argument("--prepare", metavar="DATASET")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", type=Path)
    args = parser.parse_args()
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    run = read_run(args.config)
    place = Place(args.root, run)
    machine = machine_of(run, args.device, args.threads, args.data)
    if args.prepare:
        make_data(place, args.prepare, machine)
    else:
        train(place, read_cells([args.cell], run)[0], machine)


if __name__ == "__main__":
    try:
        main()
    except StoppedError as error:
        print(error)
        sys.exit(STOPPED)
    except EhapError as error:
        sys.exit(f"error: {error}")
