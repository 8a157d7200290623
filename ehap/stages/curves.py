"""Stage curves: the histories of a cell's trainings as one picture, the shapes of its pruned networks as another."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas
from safetensors import safe_open

from ehap.errors import DataError
from ehap.results.figures import svg
from ehap.results.figures.channels import kept_shares
from ehap.results.figures.curves import Curve, curves_of_cell
from ehap.results.order import FOLDERS, TRAININGS
from ehap.runtime.files import write_atomically
from ehap.settings.names import DENSE

STAGES = {FOLDERS.get(stage, stage): stage for stage in TRAININGS}
"""Folder to stage."""


def run(histories: Sequence[Path], picture: Path, title: str) -> None:
    """Draw every history, ``…/<stage>/<dataset>/<model>/seed<seed>[/<method>[/<scheme>]]/history.csv``, as one SVG."""
    write_atomically(picture, svg(curves_of_cell([_curve(path) for path in histories], title)))


def run_shapes(plans: Sequence[Path], dense: Path, picture: Path, title: str) -> None:
    """Draw which share of every layer each plan, ``…/<method>/plan.json``, keeps of the network in ``dense``."""
    with safe_open(dense, framework="numpy") as file:
        shares = {}
        for path in plans:
            kept = json.loads(path.read_text())["kept"]
            widths = {layer: file.get_slice(f"{layer}.weight").get_shape()[0] for layer in kept}
            shares[path.parent.name] = {layer: len(kept[layer]) / width for layer, width in widths.items()}
    write_atomically(picture, svg(kept_shares(shares, title)))


def _curve(path: Path) -> Curve:
    """Read one history; its path names stage, method and scheme."""
    parts = path.parts
    seeds = [index for index, part in enumerate(parts) if part.startswith("seed") and part[4:].isdecimal()]
    at = seeds[-1] - 3 if seeds else -1
    if at < 0 or parts[at] not in STAGES:
        raise DataError(f"{path}: expected a history of one of the stages {', '.join(STAGES)}.")
    method, scheme, *_ = (*parts[at + 4 : -1], "", "")
    return Curve(STAGES[parts[at]], method or DENSE, scheme, pandas.read_csv(path))
