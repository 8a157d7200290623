"""Networks with their graph and plan in one file, which needs no code of the network's to be read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, fx, nn

from ehap.errors import ArgumentError, CheckpointError, EhapError, NumericsError, PlanError
from ehap.graph import Agreement, example_images
from ehap.graph.channels import Kept, channel_graph
from ehap.graph.network import PrunedNetwork
from ehap.graph.reading import check_twin
from ehap.graph.serialization import Description, blank, check_shape, described, difference, fill_, weights_of
from ehap.graph.tracing import copied
from ehap.pruning.plan import Order, PruningPlan
from ehap.pruning.surgery import checked_kept, cut
from ehap.records import write_tensors

FORMAT, VERSION = "ehap network", 1
KEYS = {"format", "version", "plan", "graph", "input_shape", "quantization"}


@dataclass(frozen=True)
class Saved:
    """A network as the metadata of a file describe it.

    graph: Its forward pass in floating point. blank: That network in eval mode, without values.
    plan: The plan by which it was pruned; None where it is dense, or nobody said.
    input_shape: (C, H, W) of an image.
    quantization: Scheme and bits of a quantized network; None in floating point.
    """

    graph: Description
    blank: PrunedNetwork
    plan: PruningPlan | None
    input_shape: tuple[int, int, int]
    quantization: Mapping[str, Any] | None = None


def save_network(
    path: Path, network: nn.Module, plan: PruningPlan | None = None, example: Tensor | None = None
) -> Agreement:
    """Write a network in floating point with its graph and its plan, and return how its reading agrees with it.

    Args:
        path: The file to write.
        network: Dense or pruned, in any mode; it is not changed.
        plan: The plan by which it was pruned, or None.
        example: Images (N, C, H, W) on which the network is compared with its reading from the file, in its type and
            on its device. Where left out, random ones of the plan's input_shape.

    Raises:
        ArchitectureError: It has an operation that pruning does not know, or that a file cannot name.
        ArgumentError: There is neither an example nor a plan that says the shape of an image.
        PlanError: The plan is for another network.
        NumericsError: A weight is NaN or infinite.
        MismatchError: The reading gives other outputs: the network was misread. Nothing is written.
        WriteError: The file cannot be written.
    """
    images = _images(network, plan, example)
    graph = described(network)
    tensors = weights_of(network, graph)
    check_finite(tensors)
    metadata = own_metadata(graph, checked_plan(plan, network), images)
    twin = read_metadata(json.loads(json.dumps(metadata))).blank
    fill_(twin, tensors)
    agreement = check_twin(network, twin.to(images.device), images)
    write_tensors(path, tensors, metadata)
    return agreement


def own_metadata(
    graph: Description, plan: PruningPlan | None, images: Tensor, quantization: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the metadata of a file."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "plan": None if plan is None else plan.to_json(),
        "graph": graph,
        "input_shape": list(images.shape[1:]),
        "quantization": quantization,
    }


def read_metadata(metadata: Mapping[str, Any]) -> Saved:
    """Return the network that the metadata of a file describes.

    Raises:
        CheckpointError: They are of another version, or are no such metadata.
    """
    if metadata.get("version") != VERSION:
        raise CheckpointError(
            f"expected version {VERSION} of the format, got {metadata.get('version')!r:.20}; read it with the version "
            "of ehap that wrote it"
        )
    if set(metadata) != KEYS:
        raise CheckpointError(f"expected metadata {', '.join(sorted(KEYS))}, got {', '.join(sorted(metadata)):.200}")
    network, plan = blank(metadata["graph"]), metadata["plan"]
    shape = check_shape(network, metadata["input_shape"])
    found = None if plan is None else _plan_from_text(plan)
    misfit = misfit_of(found, network)
    if misfit:
        raise CheckpointError(misfit)
    if found is not None:
        network.kept = found.kept
    quantization = metadata["quantization"]
    if not isinstance(quantization, (dict, type(None))):
        raise CheckpointError(f"expected scheme and bits of a quantized network, got {quantization!r:.80}")
    return Saved(metadata["graph"], network, found, shape, quantization)


def like(model: nn.Module, plan: PruningPlan | Kept | None, order: Order, graph: Description) -> nn.Module:
    """Return the architecture that a plan makes of a network, on the CPU, if it has this graph.

    Raises:
        CheckpointError: The model is another one.
    """
    try:
        if plan is None:
            found = copied(model)
        else:
            channels = channel_graph(model)
            found = cut(model, channels, checked_kept(channels, plan), order)
        other = difference(described(found), graph)
    except EhapError as error:
        raise CheckpointError(f"the given model is another network than the saved one: {error}") from None
    if other:
        raise CheckpointError(f"the given model is another network than the saved one: {other:.300}")
    return found.to("cpu").eval()


def misfit_of(plan: PruningPlan | None, network: nn.Module) -> str:
    """Return where a network has other widths than a plan leaves; empty where it has the same."""
    widths = channel_graph(network).widths()
    left = widths if plan is None else {layer: len(kept) for layer, kept in plan.kept.items()}
    if left == widths:
        held = network.kept if plan is not None and isinstance(network, PrunedNetwork) else {}
        other = next((layer for layer in held if plan is not None and plan.kept[layer] != held[layer]), "")
        return f"the plan is for another network: of {other} it keeps other channels" if other else ""
    layer = next(name for name in [*widths, *left] if left.get(name) != widths.get(name))
    have, want = widths.get(layer, "no"), left.get(layer, "none")
    return f"the plan is for another network: {layer} has {have} channels, and the plan leaves {want}"


def checked_plan(plan: PruningPlan | None, network: nn.Module) -> PruningPlan | None:
    """Return a plan that leaves the widths of a network, or None.

    Raises:
        PlanError: It leaves others.
    """
    misfit = misfit_of(plan, network)
    if misfit:
        raise PlanError(f"{misfit}; give the plan by which the network was pruned, or None.")
    return plan


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raise NumericsError if a tensor holds NaN or Inf."""
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise NumericsError(f"{name}: expected finite weights to save, got NaN or Inf; train the network anew.")


def filled(network: nn.Module, blank_network: fx.GraphModule, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return a network with the tensors of a file; modules that its forward pass does not use keep their own.

    Raises:
        CheckpointError: They do not fit the blank network, read from the same file.
    """
    fill_(blank_network, tensors)
    if network is not blank_network:
        network.load_state_dict(blank_network.state_dict(), strict=False, assign=True)
    return network.eval()


def _images(network: nn.Module, plan: PruningPlan | None, example: Tensor | None) -> Tensor:
    if example is not None:
        return example
    if plan is None or not plan.input_shape:
        raise ArgumentError(
            "the shape of an image is unknown, so the file cannot be checked; give example=images[:1], or a plan with "
            "input_shape."
        )
    return example_images(network, plan.input_shape)


def _plan_from_text(text: object) -> PruningPlan:
    """Return the plan of a file.

    Raises:
        CheckpointError: It is none.
    """
    try:
        return PruningPlan.from_json(str(text))
    except PlanError as error:
        raise CheckpointError(f"its plan cannot be read ({error})") from None
