"""Stage curves: the histories of a cell's trainings as one picture."""

from pathlib import Path

import pandas

from ehap.artifacts.job import Job
from ehap.errors import DataError
from ehap.results.figures import svg
from ehap.results.figures.curves import Curve, curves_of_cell
from ehap.results.order import FOLDERS, TRAININGS
from ehap.runtime.files import write_atomically
from ehap.settings.names import DENSE, Order

STAGES = {FOLDERS.get(stage, stage): stage for stage in TRAININGS}
"""Folder to stage."""


def run(job: Job[Order]) -> None:
    """Draw all histories as one SVG.

    They are ``…/<stage>/<dataset>/<model>/seed<seed>[/<method>[/<scheme>]]/history.csv``, in the order of the picture:
    of the dense network, of fine-tuning, of quantization.
    """
    histories = [_curve(path) for path in job.input_files()]
    write_atomically(job.output("picture"), svg(curves_of_cell(histories, job.identity.title())))


def _curve(path: Path) -> Curve:
    """Read one history; its path names stage, method and scheme."""
    parts = path.parts
    seeds = [index for index, part in enumerate(parts) if part.startswith("seed") and part[4:].isdecimal()]
    at = seeds[-1] - 3 if seeds else -1
    if at < 0 or parts[at] not in STAGES:
        raise DataError(f"{path}: expected a history of one of the stages {', '.join(STAGES)}.")
    method, scheme, *_ = (*parts[at + 4 : -1], "", "")
    return Curve(STAGES[parts[at]], method or DENSE, scheme, pandas.read_csv(path))
