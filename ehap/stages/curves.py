"""Stage curves: the histories of a cell's trainings as one picture."""

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
        at = max((index for index, part in enumerate(parts) if part in PANELS), default=None)
        if at is None:
            raise DataError(f"{path}: expected a history of one of the stages {', '.join(PANELS)}.")
        label = " ".join(parts[at + 4 : -1]) or "dense"
        curves.append((PANELS[parts[at]], label, pandas.read_csv(path)))
    write_atomically(picture, learning_curves(curves, title))
