"""Stage latency: a deployed network and the dense one in ONNX Runtime, in FP32 and in INT8, in turns."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from ehap.data import DATASETS
from ehap.evaluation import in_turns, parameters
from ehap.models import INPUT_SHAPE
from ehap.models.folding import fuse_norms
from ehap.pruning import expanded, lay_into_, layer_weights, placements, prune
from ehap.quantization import pack_on_noise, unpack
from ehap.quantization.deployment import OnnxNetwork, exported, to_onnx
from ehap.records import Job, Value, read_record, write_record
from ehap.runtime import choose_device, logger
from ehap.settings import Latency, Machine
from ehap.stages.dense import load_dense
from ehap.stages.pruned import check_order, load_model

Key = tuple[str, str]
DENSE, PRUNED, FP32, INT8 = "dense", "pruned", "FP32", "INT8"


def run(
    dense: Path,
    checkpoint: Path,
    onnx: Path,
    deployed: Path,
    record: Path,
    job: Job,
    settings: Latency,
    machine: Machine,
) -> None:
    """Time {dense, pruned} × {FP32, INT8} in ONNX Runtime on the CPU.

    In FP32 the pruned network has the same form as its integers in the file ``onnx``: plain sums, and the widths of
    ``deployed``, the record of that file. The dense network's integers are calibrated on noise: its time does not
    depend on their values.
    """
    device = choose_device("cpu", machine.threads)
    whole = load_dense(dense, job).eval()
    compact, metadata = load_model(checkpoint, job)
    check_order(checkpoint, metadata)
    kept = metadata["kept"] or {name: list(range(len(weight))) for name, weight in layer_weights(whole).items()}
    wide = expanded(whole, kept, read_record(deployed)["settings"]["round_to"])
    laid = fuse_norms(prune(whole, wide))
    lay_into_(laid, fuse_norms(compact), placements(whole, kept, wide))
    contents = {
        (DENSE, FP32): exported(fuse_norms(whole), INPUT_SHAPE).SerializeToString(),
        (DENSE, INT8): _in_integers(whole, job),
        (PRUNED, FP32): exported(laid, INPUT_SHAPE).SerializeToString(),
        (PRUNED, INT8): onnx.read_bytes(),
    }
    calls = {key: OnnxNetwork(content, settings.threads) for key, content in contents.items()}
    values = {"executed_parameters": Value(parameters(prune(whole, wide)), "parameters")}
    for batch in settings.batches:
        images = torch.randn(batch, *INPUT_SHAPE, generator=torch.Generator().manual_seed(job.seed))
        values |= _values(in_turns(calls, images, settings.rounds), batch)
    write_record(record, job, values, settings, device)


def _values(times: Mapping[Key, float], batch: int) -> dict[str, Value]:
    """Return the medians of a number of images, and how many times as fast pruned INT8 is as each other network."""
    values = {
        f"latency_{batch}.{network}_{precision}": Value(each, "ms") for (network, precision), each in times.items()
    }
    ours = times[PRUNED, INT8]
    for (network, precision), each in times.items():
        if (network, precision) != (PRUNED, INT8):
            values[f"times_as_fast_{batch}.{network}_{precision}"] = Value(each / ours, "times")
    slower = [f"{network} {precision}" for (network, precision), each in times.items() if each < ours]
    said = f"slower than {', '.join(slower)}" if slower else "faster than each of the others"
    logger.info("batch %d: the pruned network in INT8 takes %.3f ms, %s", batch, ours, said)
    return values


def _in_integers(network: nn.Module, job: Job) -> bytes:
    """Return the dense network as an ONNX file of integers."""
    packed, settings = pack_on_noise(network, INPUT_SHAPE, DATASETS[job.dataset])
    return to_onnx(unpack(packed, network, settings, INPUT_SHAPE), INPUT_SHAPE)
