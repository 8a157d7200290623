"""Stage trace: the Hessian trace of every channel of a dense network."""

from pathlib import Path

import torch

from ehap.curvature import channel_traces
from ehap.data import hessian_batch
from ehap.errors import DataError
from ehap.records import Job, Value, write_record, write_tensors
from ehap.runtime import choose_device
from ehap.settings import Machine, Trace
from ehap.stages.dense import architecture, load_dense
from ehap.stages.prepared import load_data
from ehap.stages.resume import Resume


def run(
    data: Path,
    checkpoint: Path,
    traces: Path,
    record: Path,
    job: Job,
    settings: Trace,
    machine: Machine,
    states: Path | None = None,
) -> None:
    """Compute traces and standard errors of the cell's dense network on its Hessian batch."""
    device = choose_device(machine.device, machine.threads)
    images = load_data(data, job, torch.device("cpu"))  # only the Hessian batch goes to the device: memory is measured
    if settings.batch_size > len(images.train[0]):
        raise DataError(
            f"expected at least {settings.batch_size} training images for the Hessian batch, got "
            f"{len(images.train[0])}; lower trace.batch_size or raise prepare.train_images."
        )
    network = load_dense(checkpoint, job)
    batch, labels = hessian_batch(*images.train, images.info, settings.batch_size, job.seed)
    with Resume(states, job, settings, machine.seconds_between_states).listening() as resume:
        result = channel_traces(network.to(device), batch.to(device), labels.to(device), settings, job.seed, resume)
    tensors = {f"trace.{name}": values for name, values in result.trace.items()}
    tensors |= {f"standard_error.{name}": values for name, values in result.standard_error.items()}
    write_tensors(traces, tensors, {**architecture(job, None), "curvature": job.curvature})
    values = {
        "samples": Value(result.samples, "samples"),
        "hessian_batch": Value(settings.batch_size, "images"),
        "trace_time": Value(result.seconds, "s"),
        "time_per_sample": Value(result.seconds / result.samples, "s"),
        "peak_memory": Value(result.peak_memory_bytes, "bytes"),
    }
    write_record(record, job, values, settings, device)
    resume.remove()
