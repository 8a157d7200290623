"""Stage curves: the histories of a cell's trainings as one picture, the shapes of its pruned networks as another."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pandas
from safetensors import safe_open

from ehap.errors import DataError
from ehap.results.curves import kept_shares, learning_curves
from ehap.runtime.files import write_atomically

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


def run_shapes(plans: Sequence[Path], dense: Path, picture: Path, title: str) -> None:
    """Draw which share of every layer each plan, ``…/<method>/plan.json``, keeps of the network in ``dense``."""
    with safe_open(dense, framework="numpy") as file:
        shares = {}
        for path in plans:
            kept = json.loads(path.read_text())["kept"]
            widths = {layer: file.get_slice(f"{layer}.weight").get_shape()[0] for layer in kept}
            shares[path.parent.name] = {layer: len(kept[layer]) / width for layer, width in widths.items()}
    write_atomically(picture, kept_shares(shares, title))
