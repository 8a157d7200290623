"""Stage curves: the histories of a cell's trainings as one picture."""

import re

import pandas

from ehap.artifacts.job import Job
from ehap.errors import DataError
from ehap.results.curves import learning_curves
from ehap.runtime.files import write_atomically
from ehap.settings.names import Order

PANELS = {"pretrain": "pretrain", "finetune": "fine-tune", "quantize": "quantization-aware"}


def run(job: Job[Order]) -> None:
    """Draw all histories as one SVG.

    They are ``…/<stage>/<dataset>/<model>/seed<seed>[/<method>[/<scheme>]]/history.csv``, in the order of the picture:
    of the dense network, of fine-tuning, of quantization.
    """
    curves = []
    for path in job.input_files():
        parts = path.parts
        seeds = [index for index, part in enumerate(parts) if re.fullmatch(r"seed\d+", part)]
        at = seeds[-1] - 3 if seeds else -1
        if at < 0 or parts[at] not in PANELS:
            raise DataError(f"{path}: expected a history of one of the stages {', '.join(PANELS)}.")
        label = " ".join(parts[at + 4 : -1]) or "dense"
        curves.append((PANELS[parts[at]], label, pandas.read_csv(path)))
    write_atomically(job.output("picture"), learning_curves(curves, job.identity.title()))
