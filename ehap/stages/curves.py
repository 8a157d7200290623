"""Stage curves: the histories of a cell's trainings as one picture."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas

from ehap.errors import DataError
from ehap.runtime import write_atomically
from ehap.tables import learning_curves

PANELS = {"pretrain": "pretrain", "finetune": "fine-tune", "quantize": "quantization-aware"}


def run(histories: Sequence[Path], picture: Path, title: str) -> None:
    """Draw every history, ``…/<stage>/<dataset>/<model>/seed<seed>[/<method>[/<scheme>]]/history.csv``, as one SVG."""
    curves = []
    for path in histories:
        parts = path.parts
        seeds = [index for index, part in enumerate(parts) if re.fullmatch(r"seed\d+", part)]
        at = seeds[-1] - 3 if seeds else -1
        if at < 0 or parts[at] not in PANELS:
            raise DataError(f"{path}: expected a history of one of the stages {', '.join(PANELS)}.")
        label = " ".join(parts[at + 4 : -1]) or "dense"
        curves.append((PANELS[parts[at]], label, pandas.read_csv(path)))
    write_atomically(picture, learning_curves(curves, title))
