"""One contender of the benchmark of traces, measured in a process of its own."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from benchmarks.trace_peers import CONTENDERS
from benchmarks.trace_ways import PAPER_SAMPLES, Cost, ours
from benchmarks.weights import network_of, noise
from ehap.data import DATASETS, hessian_batch
from ehap.records import read_tensors
from ehap.runtime.device import choose_device


@dataclass(frozen=True)
class Case:
    """A network with its Hessian batch, and the machine's share.

    checkpoint: Weights; None for new ones. data: Images of the prepare stage; None for noise.
    """

    model: str
    classes: int
    batch: int
    checkpoint: Path | None
    data: Path | None
    device: str
    threads: int


@dataclass(frozen=True)
class Contender:
    """A way to compute traces.

    peer: A key of CONTENDERS; empty for ours. samples: Hutchinson samples. settings: Of our traces, as fields of Trace.
    """

    peer: str = ""
    samples: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)


def alone_on_core(device: torch.device, threads: int) -> bool:
    """Return whether the processor's own clock counts.

    It does for a single thread: that clock stands still while other processes have their turn.
    """
    return device.type == "cpu" and threads == 1


def measure(case: Case, contender: Contender, traces: Path) -> dict[str, Any]:
    """Measure the cost of one contender; its traces go to a file.

    The gradient graph is paid once. So the cost of 300 samples is that of the measured ones plus, for each sample
    not measured, the cost of one more.

    Returns:
        seconds: Time of the samples run. whole: Time of 300 samples, or of the exact traces. samples: Samples run.
        bytes: Peak memory.
    """
    device = choose_device(case.device, case.threads)
    batch = network_and_batch(case, device)
    own_clock = alone_on_core(device, case.threads)
    clock = time.process_time if own_clock else time.perf_counter
    exact = contender.settings.get("estimator") == "exact"

    def run(samples: int) -> Cost:
        began = clock()
        found = ours(*batch, contender.settings if exact else {**contender.settings, "samples": samples})
        return replace(found, seconds=clock() - began) if own_clock else found

    samples = contender.samples
    found = CONTENDERS[contender.peer](*batch, samples, clock) if contender.peer else run(samples)
    whole = found.seconds
    if not exact:
        each = found.each or (found.seconds - run(1).seconds) / (samples - 1)
        whole += (PAPER_SAMPLES - samples) * each
    save_file({name: values.contiguous() for name, values in found.trace.items()}, traces)
    return {"seconds": found.seconds, "whole": whole, "samples": found.samples, "bytes": found.peak_memory_bytes}


def network_and_batch(case: Case, device: torch.device) -> tuple[nn.Module, Tensor, Tensor]:
    """Return the network in eval mode, and images and labels of its Hessian batch, on the device."""
    network = network_of(case.model, case.classes, case.checkpoint)
    generator = torch.Generator().manual_seed(0)
    images = noise(case.batch, generator)
    labels = torch.randint(case.classes, (case.batch,), generator=generator)
    if case.data:
        tensors, metadata = read_tensors(case.data)
        info = DATASETS[metadata["dataset"]]
        images, labels = hessian_batch(tensors["train_images"], tensors["train_labels"], info, case.batch, seed=0)
    network, images, labels = network.to(device), images.to(device), labels.to(device)
    if not case.checkpoint:  # without statistics of its own, activations double from block to block, beyond FP16
        update_bn([images], network)
    return network, images, labels
