"""Stage qat: train the fine-tuned network with simulated quantization, then pack it as integers."""

from collections.abc import Mapping

import torch
from torch import nn

from ehap.artifacts.datasets import Data, input_shape, load_data
from ehap.artifacts.fitting import fit_and_record
from ehap.artifacts.job import Job
from ehap.artifacts.pruned import load_model
from ehap.curvature import channel_scores
from ehap.data import hessian_batch, normalise
from ehap.errors import DataError
from ehap.graph.reading import EXAMPLES
from ehap.quantization import (
    calibrate_,
    called_layers,
    layer_weight,
    mixed_bits,
    pack,
    prepare_qat,
    to_tensors,
)
from ehap.records import Proof, Value, proof, write_tensors
from ehap.runtime.progress import logger
from ehap.settings import Qat
from ehap.settings.scheme import FLOAT
from ehap.training import FrozenNorms


def run(job: Job[Qat]) -> None:
    """Train the cell's fine-tuned network under quantization; write its integer weights, history and record.

    With settings.bits 32, the training is as long but without quantization, and the weights stay floats.
    """
    settings, identity = job.settings, job.identity
    device = job.device()
    images = load_data(job, device)
    network, structure = load_model(job.input("checkpoint"), identity)
    network.to(device)
    metadata = {**structure, "bits": settings.bits, "method": identity.method, "scheme": identity.scheme}
    further: dict[str, Value] = {}
    proofs: dict[str, Proof] = {}
    bits = dict.fromkeys(called_layers(network), settings.bits)
    if settings.bits == FLOAT:
        trained: nn.Module = FrozenNorms(network) if settings.norms == "frozen" else network
    else:
        if settings.mix:
            metadata["layer_bits"] = bits = _layer_bits(network, images, job)
            further = _bits_as_values(network, bits)
        example = normalise(images.train[0][:EXAMPLES], images.info)
        trained = simulated = prepare_qat(network, settings, input_shape(job), bits, example, settings.range_momentum)
        proofs["graph"] = proof(simulated.reading)
        if settings.calibration_images:
            calibrate_(simulated, images.train[0], images.info, settings.calibration_images, identity.seed)
    states = fit_and_record(job, trained, images, device, further=further, proofs=proofs)
    tensors = network.state_dict() if settings.bits == FLOAT else to_tensors(pack(simulated, network), bits)
    write_tensors(job.output("weights"), tensors, metadata)
    states.remove()


def _layer_bits(network: nn.Module, images: Data, job: Job[Qat]) -> dict[str, int]:
    """Return layer → bits of its weights, chosen by exact traces of the network before quantization."""
    settings, count = job.settings, len(images.train[0])
    if settings.hessian_images > count:
        raise DataError(
            f"qat.hessian_images: expected at most the {count} training images, got {settings.hessian_images}."
        )
    inputs, labels = hessian_batch(*images.train, images.info, settings.hessian_images, job.identity.seed)
    bits = mixed_bits(
        network, settings, input_shape(job), lambda folded: channel_scores(folded, inputs, labels, "trace")["trace"]
    )
    logger.info("bits of the weights: %s", ", ".join(f"{name} {width}" for name, width in bits.items()))
    return bits


@torch.no_grad()
def _bits_as_values(network: nn.Module, bits: Mapping[str, int]) -> dict[str, Value]:
    """Return the mean bits over all weights, and the bits of each layer."""
    counts = {name: layer_weight(network, name).numel() for name in bits}
    mean = sum(bits[name] * counts[name] for name in bits) / sum(counts.values())
    return {"weight_bits": Value(mean, "bits"), **{f"weight_bits.{name}": Value(bits[name], "bits") for name in bits}}
