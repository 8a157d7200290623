"""Stage trace: the Hessian trace of every channel of a dense network."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ehap.artifacts.datasets import load_data
from ehap.artifacts.dense import architecture, check_cell, load_dense
from ehap.artifacts.job_checkpoint import JobCheckpoint
from ehap.curvature import ChannelTraces, Partial, channel_traces, merged_traces, partial_traces
from ehap.curvature.traces import Planner
from ehap.data import hessian_batch
from ehap.errors import DataError
from ehap.records import Job, Value, read_tensors, write_record, write_tensors
from ehap.runtime.device import choose_device
from ehap.settings import Machine, Trace
from ehap.settings.fp16 import check_fp16

PlannerOf = Callable[[nn.Module], Planner]


@dataclass(frozen=True)
class _Work:
    """What traces are computed of: a dense network and its Hessian batch, on a device."""

    network: nn.Module
    images: Tensor
    labels: Tensor
    device: torch.device


def run(
    data: Path,
    checkpoint: Path,
    traces: Path,
    record: Path,
    job: Job,
    settings: Trace,
    machine: Machine,
    states: Path | None = None,
    parts: Path | None = None,
    planner: PlannerOf | None = None,
) -> None:
    """Write traces and standard errors of the cell's dense network on its Hessian batch.

    Where the work was shared out, ``parts`` is the folder in which ``run_part`` has left its results; ``planner``
    is what settings.until asks, and needed only with it.
    """
    work, inputs = _work(data, checkpoint, job, settings, machine), [data, checkpoint]
    with JobCheckpoint(
        states, job, settings, inputs, work.device, machine.seconds_between_states
    ).listening() as states_of_job:
        if parts is not None:
            found = [_read_part(part_path(parts, shard, settings.shards), job) for shard in range(settings.shards)]
            result = merged_traces(work.network, found, settings, len(work.images))
        else:
            plan = planner(work.network) if planner else None
            result = channel_traces(work.network, work.images, work.labels, settings, job.seed, states_of_job, plan)
    tensors = {
        f"{prefix}{criterion}.{name}": values
        for prefix, scores in (("", result.scores), ("standard_error.", result.errors))
        for criterion, by_layer in scores.items()
        for name, values in by_layer.items()
    }
    write_tensors(traces, tensors, {**architecture(job, None), "curvature": job.curvature})
    values, proofs = _values(result, len(work.images)), {"curvature": dict(result.proofs)}
    write_record(record, job, values, settings, work.device, proofs)
    states_of_job.remove()


def run_part(
    data: Path,
    checkpoint: Path,
    part: Path,
    shard: int,
    job: Job,
    settings: Trace,
    machine: Machine,
    states: Path | None = None,
) -> None:
    """Write one of settings.shards parts of the work; ``run`` makes traces of all of them."""
    work = _work(data, checkpoint, job, settings, machine)
    folder = None if states is None else states / f"shard{shard}"
    with JobCheckpoint(
        folder, job, settings, [data, checkpoint], work.device, machine.seconds_between_states
    ).listening() as states_of_job:
        found = partial_traces(work.network, work.images, work.labels, settings, job.seed, states_of_job, shard=shard)
    tensors = {f"rows.{name}": rows for name, rows in found.rows.items()}
    tensors |= {f"sketch.{name}": sketch for name, sketch in found.sketch.items()}
    numbers = {name: value for name, value in vars(found).items() if name not in ("rows", "sketch")}
    write_tensors(part, tensors, {**architecture(job, None), "curvature": job.curvature, "part": numbers})
    states_of_job.remove()


def part_path(folder: Path, shard: int, shards: int) -> Path:
    """Return where a part of the work lies."""
    return folder / f"{shard}-of-{shards}.safetensors"


def _work(data: Path, checkpoint: Path, job: Job, settings: Trace, machine: Machine) -> _Work:
    device = choose_device(machine.device, machine.threads)
    check_fp16(settings, job.curvature, device.type == "cpu")
    loaded = load_data(data, job, torch.device("cpu"))  # only the Hessian batch goes to the device: memory is measured
    count = len(loaded.train[0])
    if settings.batch_size > count:
        raise DataError(
            f"expected at least {settings.batch_size} training images for the Hessian batch, got {count}; lower "
            "trace.batch_size or raise prepare.train_images."
        )
    # The published loop over the loader never stops, and so takes the last, partial batch.
    size = count % settings.batch_size or settings.batch_size if settings.as_published else settings.batch_size
    network = load_dense(checkpoint, job)
    images, labels = hessian_batch(*loaded.train, loaded.info, size, job.seed)
    return _Work(network.to(device), images.to(device), labels.to(device), device)


def _read_part(path: Path, job: Job) -> Partial:
    tensors, metadata = read_tensors(path)
    check_cell(path, metadata, job)
    kinds: dict[str, dict[Any, Tensor]] = {"rows": {}, "sketch": {}}
    for name, tensor in tensors.items():
        kind, criterion = name.split(".")
        kinds[kind][criterion] = tensor
    return Partial(rows=kinds["rows"], sketch=kinds["sketch"], **metadata["part"])


def _values(result: ChannelTraces, images: int) -> dict[str, Value]:
    values = {
        "samples": Value(result.samples, "samples"),
        "hessian_batch": Value(images, "images"),
        "trace_time": Value(result.seconds, "s"),
        "peak_memory": Value(result.peak_memory_bytes, "bytes"),
    }
    if result.samples:
        values["time_per_sample"] = Value(result.seconds / result.samples, "s")
        values["repeats"] = Value(result.repeated, "products")  # of micro-batches that were not finite in FP16
    if result.overlap is not None:
        values["stable_overlap"] = Value(100 * result.overlap, "percent")
    return values
