"""Networks that are timed: dense and pruned, in FP32 and in INT8, as calls of an engine."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from benchmarks.benchmark import Row
from ehap.data import CIFAR_SHAPE, DATASETS
from ehap.engines.deployable import deployable
from ehap.engines.inductor import InductorNetwork, frozen
from ehap.engines.onnxruntime import OnnxNetwork, audit, exported, left_in_float, to_onnx
from ehap.engines.onnxruntime import in_integers as in_integer_kernels
from ehap.errors import PlanError
from ehap.evaluation import parameters
from ehap.graph.channels import Kept
from ehap.graph.folding import fuse_norms
from ehap.graph.layers import layer_weights
from ehap.pruning import Planner, magnitude, prune, widened
from ehap.quantization import SimulatedNetwork, called_layers, pack_on_noise, to_tensors, unpack
from ehap.records import write_tensors
from ehap.settings import Prune

ENGINES = ("eager", "inductor", "onnxruntime")
ALIGNED = 16
PLANS = {"": 1, f"planned in {ALIGNED}s, ": ALIGNED}
"""Beginning of a network's name to the multiple in which widths are planned."""
SUMS = {"plain sums": 1, "plain sums, aligned": ALIGNED}
"""End of a network's name to the multiple to which widths are padded."""
NETWORKS = ("dense", *(plan + form for plan in PLANS for form in ("pruned", *SUMS)))
Call = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Contender:
    """A network in FP32.

    kept: Channels of the dense network that it keeps. round_to: Multiple to which widths are padded, with plain sums;
    None for the network as it was pruned.
    """

    network: nn.Module
    kept: Kept
    round_to: int | None = None


def contenders(dense: nn.Module, params: float, flops: float | None, wanted: Sequence[str]) -> dict[str, Contender]:
    """Return name to network, the dense one first.

    A thin network may have no plan in multiples; stderr says which networks are left out for that.

    Args:
        dense: In eval mode.
        params: Share of the parameters that is kept, by L2 norms with layer balance.
        flops: Share of the FLOPs that is kept at most; None for any.
        wanted: Names from NETWORKS.
    """
    every = {name: list(range(len(weight))) for name, weight in layer_weights(dense).items()}
    found = {"dense": Contender(dense, every)}
    planner = Planner(dense, CIFAR_SHAPE)
    for prefix, round_to in PLANS.items():
        if not {f"{prefix}{form}" for form in ("pruned", *SUMS)} & set(wanted):
            continue
        chosen = Prune(criterion="magnitude", balance="lamp", params=params, flops=flops, round_to=round_to)
        try:
            kept = planner(magnitude(layer_weights(dense)), *chosen.parts).kept
        except PlanError as error:
            print(f"{prefix}left out: {error}", file=sys.stderr)
            continue
        small = prune(dense, kept).eval()
        found[f"{prefix}pruned"] = Contender(small, kept)
        for label, width in SUMS.items():
            found[f"{prefix}{label}"] = Contender(widened(small, width), kept, width)
    return {name: each for name, each in found.items() if name == "dense" or name in wanted}


def without_plan(models: Sequence[str], wanted: Sequence[str], found: dict[str, set[str]]) -> list[str]:
    """Return the models and beginnings of names for which ``contenders`` found no network.

    Args:
        models: Models that are measured already.
        wanted: Names from NETWORKS.
        found: Model to the names of its networks.
    """
    missing = []
    for model in models:
        for prefix in PLANS:
            names = {f"{prefix}{form}" for form in ("pruned", *SUMS)}
            if names & set(wanted) and not names & found[model]:
                missing.append(f"{model}, {prefix}".strip(", "))
    return sorted(missing)


def in_float(network: nn.Module, engine: str, images: Tensor, threads: int) -> Call:
    """Return a network in FP32 on an engine, compiled for such images."""
    fused = fuse_norms(network)
    if engine == "eager":
        return fused
    if engine == "inductor":
        compiled: Call = torch.compile(fused, dynamic=False)
        with frozen():
            compiled(images)
        return compiled
    return OnnxNetwork(exported(fused, CIFAR_SHAPE).SerializeToString(), threads)


def quantized(dense: nn.Module, kept: Kept, round_to: int | None) -> tuple[SimulatedNetwork, float]:
    """Return a network in INT8 with the ranges of noise, and the bytes a parameter of its packed file."""
    small = prune(dense, kept).eval()
    compact, scheme = pack_on_noise(small, CIFAR_SHAPE, DATASETS["cifar10"])
    with TemporaryDirectory() as scratch:
        bits = dict.fromkeys(called_layers(small), scheme.bits)
        write_tensors(Path(scratch) / "packed", to_tensors(compact, bits), {"kept": kept})
        size = (Path(scratch) / "packed").stat().st_size
    if round_to is None:
        network = unpack(compact, small, scheme, CIFAR_SHAPE)
    else:
        network = deployable(compact, small, scheme, CIFAR_SHAPE, round_to=round_to)
    return network, size / parameters(small)


def in_integers(dense: nn.Module, contender: Contender, engine: str, images: Tensor, threads: int) -> tuple[Call, Row]:
    """Return a network in INT8 on an engine, and the columns of its audit."""
    network, size = quantized(dense, contender.kept, contender.round_to)
    about: Row = {"packed_bytes_per_parameter": round(size, 3)}
    if engine == "inductor":
        compiled = InductorNetwork(network, images)
        return compiled, about | {"integer_operators": compiled.integer_operators}
    content = to_onnx(network, CIFAR_SHAPE)
    operators = audit(content)
    about["integer_operators"] = in_integer_kernels(operators)
    about["left_in_float"] = sum(left_in_float(operators).values())
    return OnnxNetwork(content, threads), about
