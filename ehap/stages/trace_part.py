"""Stage trace_part: one of the parts into which the work for traces is shared out; the stage trace merges them."""

from dataclasses import replace

from ehap.artifacts.job import Job
from ehap.artifacts.job_checkpoint import JobCheckpoint
from ehap.curvature import partial_traces
from ehap.errors import SettingsError
from ehap.records import write_tensors
from ehap.settings import Trace
from ehap.stages.trace import hessian_work, metadata_of, part_name


def run(job: Job[Trace]) -> None:
    """Write one of settings.shards parts of the work; the name of the output ``part`` says which.

    Raises:
        SettingsError: The output has another name than ``<shard>-of-<shards>.safetensors``.
    """
    settings, shards = job.settings, job.settings.shards
    part = job.output("part")
    names = [part_name(shard, shards) for shard in range(shards)]
    if part.name not in names:
        raise SettingsError(f"{part}: expected a part of {shards}, named {names[0]} to {names[-1]}.")
    shard = names.index(part.name)
    work = hessian_work(job)
    own = replace(job, states=job.states and job.states / f"shard{shard}")
    with JobCheckpoint(own, work.device).listening() as states:
        batch = work.network, work.images, work.labels
        found = partial_traces(*batch, settings, job.identity.seed, states, shard=shard)
    tensors = {f"rows.{name}": rows for name, rows in found.rows.items()}
    tensors |= {f"sketch.{name}": sketch for name, sketch in found.sketch.items()}
    numbers = {name: value for name, value in vars(found).items() if name not in ("rows", "sketch")}
    write_tensors(part, tensors, {**metadata_of(job.identity), "part": numbers})
    states.remove()
