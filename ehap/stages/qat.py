"""Stage qat: the fine-tuned network trained with simulated quantization, then packed as integers."""

from pathlib import Path

from ehap.models import INPUT_SHAPE
from ehap.quantization import calibrate_, pack, simulate
from ehap.records import Job, write_tensors
from ehap.runtime import choose_device
from ehap.settings import Machine, Qat
from ehap.stages.fitting import fit_and_record
from ehap.stages.prepared import load_data
from ehap.stages.pruned import load_model


def run(
    data: Path,
    checkpoint: Path,
    weights: Path,
    history: Path,
    record: Path,
    job: Job,
    settings: Qat,
    machine: Machine,
    states: Path | None = None,
    events: Path | None = None,
) -> None:
    """Train the cell's fine-tuned network under quantization; its integer weights, history and record are written."""
    device = choose_device(machine.device, machine.threads)
    images = load_data(data, job, device)
    network, structure = load_model(checkpoint, job)
    network.to(device)
    simulated = simulate(network, settings, INPUT_SHAPE)
    if settings.calibration_images:
        calibrate_(simulated, images.train[0], images.info, settings.calibration_images, job.seed)
    resume = fit_and_record(
        simulated, images, job, settings, device, history, record, states, machine, events, [data, checkpoint]
    )
    metadata = {**structure, "bits": settings.bits, "scheme": job.scheme}
    write_tensors(weights, pack(simulated, network), metadata)
    resume.remove()
