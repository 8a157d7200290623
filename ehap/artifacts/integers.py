"""Quantized networks with their graph, scheme and plan in one file."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ehap.artifacts.saved import Saved, check_finite, checked_plan, own_metadata, read_metadata
from ehap.engines.proof import spread_images
from ehap.errors import CheckpointError, EhapError, NumericsError
from ehap.graph import FLOAT, Agreement, check_agreement, output_of
from ehap.graph.serialization import described
from ehap.graph.tracing import copied
from ehap.pruning.plan import PruningPlan
from ehap.quantization import SimulatedNetwork, called_layers, from_tensors, pack, to_tensors, unpack
from ehap.records import write_tensors
from ehap.settings import Scheme

TYPES = {
    "weights": torch.uint8,
    "weight_scale": torch.float32,
    "bias": torch.int32,
    "activations.scale": torch.float32,
    "activations.zero_point": torch.uint8,
}
"""The tensors of a quantized network, all of one dimension."""


def save_integers(
    path: Path, network: SimulatedNetwork, plan: PruningPlan | None = None, example: Tensor | None = None
) -> Agreement:
    """Write a quantized network as packed integers, with the graph of the network in floating point and its plan.

    Biases are rounded as engines have them, so roundings of the reading may fall to the other side. The reading is
    compared with what the packed integers give in the network's own modules.

    Args:
        path: The file to write.
        network: Calibrated or trained, in any mode; it is not changed.
        plan: The plan by which it was pruned, or None.
        example: Images (N, C, H, W) on which the network is compared with its reading from the file; random ones where
            left out.

    Returns:
        How the reading agrees with the packed network.

    Raises:
        ArchitectureError, PlanError, NumericsError, MismatchError, WriteError: See ``save_network``.
        DataError: The network has no activation ranges yet.
    """
    quiet = copied(network).cpu()
    assert isinstance(quiet, SimulatedNetwork)
    original = quiet.original.cpu()  # of the copy; no submodule, so it did not move
    images = spread_images(quiet, quiet.input_shape) if example is None else example.cpu()
    graph = described(original)
    found = checked_plan(plan, original)
    bits = quiet.layer_bits or dict.fromkeys(called_layers(original), quiet.scheme.bits)
    packed = pack(quiet, original)
    tensors = to_tensors(packed, bits)
    scheme = {field.name: getattr(quiet.scheme, field.name) for field in fields(Scheme)}
    metadata = own_metadata(graph, found, images, {"scheme": scheme, "layer_bits": quiet.layer_bits})
    twin = simulated(read_metadata(json.loads(json.dumps(metadata))), tensors)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):  # torchao draws
        rounded = unpack(packed, original, quiet.scheme, quiet.input_shape, quiet.layer_bits)
        agreement = check_agreement(output_of(twin, images), output_of(rounded, images), FLOAT, _WHAT)
    write_tensors(path, tensors, metadata)
    return agreement


def simulated(found: Saved, tensors: Mapping[str, Tensor], network: nn.Module | None = None) -> SimulatedNetwork:
    """Return the quantized network of a file, in eval mode, on the CPU.

    Args:
        found: What the metadata of the file describe.
        tensors: The tensors of the file.
        network: The network of this graph; made of plain modules where left out. Its weights are replaced: the file
            has none in floating point, so those of ``original`` are NaN.

    Raises:
        CheckpointError: The tensors belong to another network, or scheme and bits do not fit them.
    """
    assert found.quantization is not None
    _check_tensors(tensors)
    scheme, layer_bits = _scheme_of(found.quantization)
    try:
        bits = layer_bits or dict.fromkeys(called_layers(found.blank), scheme.bits)
        packed = from_tensors(tensors, found.blank, bits)  # before memory is taken: its sizes come from the file
        original = without_values(network or found.blank)
        with torch.random.fork_rng(devices=[]):  # torchao draws
            return unpack(packed, original, scheme, found.input_shape, layer_bits)
    except CheckpointError:
        raise
    except Exception as error:  # torchao and torch.export raise many kinds for networks that they do not cover
        text = " ".join(str(error).split())[:200]
        raise CheckpointError(f"its network cannot be quantized by its scheme ({text})") from None


def without_values(network: nn.Module) -> nn.Module:
    """Return a network, in eval mode, after its numbers became NaN, so that nobody takes them for trained weights."""
    empty = {
        name: torch.full(each.shape, torch.nan)
        if each.is_floating_point()
        else torch.zeros(each.shape, dtype=each.dtype)
        for name, each in network.state_dict().items()
    }
    network.load_state_dict(empty, assign=True)
    return network.eval()


_WHAT = "the quantized network and its reading from the file"


def _check_tensors(tensors: Mapping[str, Tensor]) -> None:
    odd = sorted(set(tensors) ^ set(TYPES))
    if odd:
        raise CheckpointError(f"expected the tensors {', '.join(TYPES)}; {odd[0]} is missing or unknown")
    for name, tensor in tensors.items():
        if tensor.dtype != TYPES[name] or tensor.dim() != 1:
            raise CheckpointError(
                f"expected {name} as one row of {TYPES[name]}, got {tuple(tensor.shape)} of {tensor.dtype}"
            )
    try:
        check_finite(tensors)
    except NumericsError as error:
        raise CheckpointError(str(error)) from None


def _scheme_of(data: Mapping[str, Any]) -> tuple[Scheme, dict[str, int] | None]:
    """Return the scheme, and layer to bits where layers differ."""
    try:
        scheme, layer_bits = Scheme(**data["scheme"]), data["layer_bits"]
    except (EhapError, KeyError, TypeError) as error:
        raise CheckpointError(f"its scheme cannot be read ({' '.join(str(error).split())[:160]})") from None
    if layer_bits is not None and not (
        isinstance(layer_bits, dict) and all(type(each) is int and 2 <= each <= 8 for each in layer_bits.values())  # noqa: PLR2004
    ):
        raise CheckpointError(f"expected layer_bits of 2 to 8, got {layer_bits!r:.80}")
    return scheme, layer_bits
