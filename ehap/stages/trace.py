"""Stage trace: the Hessian trace of every channel of a dense network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ehap.artifacts.datasets import load_data
from ehap.artifacts.dense import architecture, check_cell, load_dense
from ehap.artifacts.job import Job
from ehap.artifacts.job_checkpoint import JobCheckpoint
from ehap.curvature import ChannelTraces, Partial, channel_traces, merged_traces
from ehap.curvature.traces import TracePlanner
from ehap.data import hessian_batch
from ehap.errors import CheckpointError, DataError
from ehap.records import Identity, Value, read_tensors, write_tensors
from ehap.settings import Trace
from ehap.settings.fp16 import check_fp16

PlannerOf = Callable[[nn.Module], TracePlanner]


@dataclass(frozen=True)
class Work:
    """A dense network and its Hessian batch, on the device of the computation."""

    network: nn.Module
    images: Tensor
    labels: Tensor
    device: torch.device


def run(job: Job[Trace]) -> None:
    """Write traces and standard errors of the cell's dense network on its Hessian batch.

    The input ``parts`` has the results of the stage trace_part, where the work was shared out.
    """
    write_traces(job)


def write_traces(job: Job[Trace], planner: PlannerOf | None = None) -> None:
    """Write traces and their record; ``planner`` decides when the traces are good enough, see ``trace_until``."""
    settings, seed = job.settings, job.identity.seed
    work, parts = hessian_work(job), job.input_list("parts")
    with JobCheckpoint(job, work.device).listening() as states:
        if parts:
            found = [_read_part(path, job.identity) for path in _in_order(parts, settings.shards)]
            result = merged_traces(work.network, found, settings, len(work.images))
        else:
            plan = planner(work.network) if planner else None
            result = channel_traces(work.network, work.images, work.labels, settings, seed, states, plan)
    tensors = {
        f"{prefix}{criterion}.{name}": values
        for prefix, scores in (("", result.scores), ("standard_error.", result.errors))
        for criterion, by_layer in scores.items()
        for name, values in by_layer.items()
    }
    write_tensors(job.output("traces"), tensors, metadata_of(job.identity))
    job.write_record(_values(result, len(work.images)), work.device, {"curvature": dict(result.proofs)})
    states.remove()


def metadata_of(identity: Identity) -> dict[str, Any]:
    """Return the metadata of a file of traces, or of a part of them."""
    return {**architecture(identity, None), "curvature": identity.curvature}


def part_name(shard: int, shards: int) -> str:
    """Return the name of the file with a part of the work."""
    return f"{shard}-of-{shards}.safetensors"


def _in_order(parts: Sequence[Path], shards: int) -> list[Path]:
    """Return the files of all parts in the order of the shards."""
    by_name = {path.name: path for path in parts}
    wanted = [part_name(shard, shards) for shard in range(shards)]
    if sorted(by_name) != sorted(wanted):
        raise CheckpointError(
            f"trace.shards is {shards}: expected the parts {', '.join(wanted)}, got {', '.join(by_name)}."
        )
    return [by_name[name] for name in wanted]


def hessian_work(job: Job[Trace]) -> Work:
    """Load the dense network and the Hessian batch of a cell.

    Raises:
        DeviceError: The settings ask for FP16 on a CPU and do not accept that it is slow.
        DataError: There are fewer training images than the batch takes.
    """
    settings, identity = job.settings, job.identity
    device = job.device()
    check_fp16(settings, identity.curvature, device.type == "cpu")
    loaded = load_data(job, torch.device("cpu"))  # only the Hessian batch goes to the device: memory is measured
    count = len(loaded.train[0])
    if settings.batch_size > count:
        raise DataError(
            f"expected at least {settings.batch_size} training images for the Hessian batch, got {count}; lower "
            "trace.batch_size or raise prepare.train_images."
        )
    # The published loop over the loader does not stop early: it takes the last, partial batch.
    size = count % settings.batch_size or settings.batch_size if settings.as_published else settings.batch_size
    network = load_dense(job.input("checkpoint"), identity)
    images, labels = hessian_batch(*loaded.train, loaded.info, size, identity.seed)
    return Work(network.to(device), images.to(device), labels.to(device), device)


def _read_part(path: Path, identity: Identity) -> Partial:
    tensors, metadata = read_tensors(path)
    check_cell(path, metadata, identity)
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
