"""Stage shapes: the shapes of a cell's pruned networks as one picture."""

import json

from safetensors import safe_open

from ehap.artifacts.job import Job
from ehap.results.figures import svg
from ehap.results.figures.channels import kept_shares
from ehap.runtime.files import write_atomically
from ehap.settings.names import Order


def run(job: Job[Order]) -> None:
    """Draw which share of every layer each plan, ``…/<method>/plan.json``, keeps of the network in ``dense``."""
    with safe_open(job.input("dense"), framework="numpy") as file:
        shares = {}
        for path in job.input_list("plans"):
            kept = json.loads(path.read_text())["kept"]
            widths = {layer: file.get_slice(f"{layer}.weight").get_shape()[0] for layer in kept}
            shares[path.parent.name] = {layer: len(kept[layer]) / width for layer, width in widths.items()}
    write_atomically(job.output("picture"), svg(kept_shares(shares, job.identity.title())))
