"""Stage finetune: the pruned network trained on."""

from pathlib import Path

from ehap.records import Job
from ehap.runtime import choose_device
from ehap.settings import Finetune, Machine
from ehap.stages.dense import save_model
from ehap.stages.fitting import fit_and_record
from ehap.stages.prepared import load_data
from ehap.stages.pruned import load_model


def run(
    data: Path,
    pruned: Path,
    checkpoint: Path,
    history: Path,
    record: Path,
    job: Job,
    settings: Finetune,
    machine: Machine,
    states: Path | None = None,
    events: Path | None = None,
) -> None:
    """Train the pruned network of a cell; its weights, history and record are written."""
    device = choose_device(machine.device, machine.threads)
    images = load_data(data, job, device)
    network, kept = load_model(pruned, job)
    network.to(device)
    resume = fit_and_record(
        network, images, job, settings, device, history, record, states, machine, events, [data, pruned]
    )
    save_model(checkpoint, network, job, kept)
    resume.remove()
