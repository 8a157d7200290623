"""Networks of users in files: safetensors with the graph, the plan and the scheme as JSON; no pickle, no code."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, fx, nn

from ehap.errors import CheckpointError, EhapError, NumericsError, PlanError
from ehap.graph.channels import channel_graph
from ehap.graph.containers import Containers, containers
from ehap.graph.serialization import graph_as_data, graph_from_data
from ehap.graph.tracing import copied
from ehap.pruning.network import PrunedNetwork
from ehap.pruning.plan import PruningPlan
from ehap.pruning.surgery import prune
from ehap.records import read_tensors, write_tensors
from ehap.settings.build import build
from ehap.settings.scheme import Scheme

FORMAT, VERSION = "ehap network", 1
ADVICE = "get the file anew, or save the network again"
MOST_FOR_EACH_BYTE = 4  # parameters of a network for a byte of its file: of integers two in a byte, and BatchNorm
LEAST = 2**20


def content_of(network: nn.Module, plan: PruningPlan | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the metadata of a file with this network.

    Args:
        network: Dense, pruned, or quantized; in eval mode.
        plan: The plan by which it was pruned, if it was.

    Raises:
        ArchitectureError: It has an operation that the format does not know.
        NumericsError: A weight is NaN or infinite.
        PlanError: The plan leaves another network.
    """
    floating, quantized = network, None
    tensors: dict[str, Tensor] | None = None
    if is_quantized(network):
        from ehap.artifacts.saved_integers import integers_of

        tensors, quantized, floating = integers_of(network)
    _check_plan(floating, plan)
    graph, state = graph_as_data(floating)
    for name, tensor in state.items() if tensors is None else ():
        if not tensor.isfinite().all():
            raise NumericsError(f"{name} holds NaN or Inf; expected finite weights to save.")
    held = floating._containers if isinstance(floating, PrunedNetwork) else containers(floating)
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "name": type(floating).__name__,
        "plan": None if plan is None else asdict(plan),
        "graph": graph,
        "containers": {path: [kind, list(children)] for path, (kind, children) in held.items()},
        "quantized": quantized,
    }
    return state if tensors is None else tensors, metadata


def write_network(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write what ``content_of`` returned, atomically."""
    write_tensors(path, tensors, metadata)


def read_network(path: Path, model: nn.Module | None = None) -> nn.Module:
    """Return the network of a file in eval mode, on the CPU.

    Args:
        path: The file.
        model: The dense network, for the structure; left out, the structure is the file's.

    Raises:
        CheckpointError: The file is missing, damaged or foreign, or the model is another one.
    """
    tensors, metadata = read_tensors(path, ADVICE)
    return network_of(str(path), tensors, metadata, model)


def network_of(
    where: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], model: nn.Module | None = None
) -> nn.Module:
    """Return the network of these tensors and metadata; ``where`` they come from goes into messages."""
    if metadata.get("format") != FORMAT or metadata.get("version") != VERSION:
        found = f"{metadata.get('format', 'another form')!r:.40}, version {metadata.get('version')!r:.10}"
        raise CheckpointError(f"{where}: expected a file of ehap.save, version {VERSION}, got {found}.")
    try:
        plan = None if metadata["plan"] is None else PruningPlan.from_fields(metadata["plan"])
        quantized = metadata["quantized"]
        weights = None if quantized else tensors
        network = _by_itself(tensors, weights, metadata) if model is None else _of_model(model, plan, weights)
        if not quantized:
            return network.eval()
        from ehap.artifacts.saved_integers import from_integers

        return from_integers(network, tensors, build(Scheme, quantized["scheme"], where), quantized)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        raise CheckpointError(
            f"{where}: damaged, or of another network ({type(error).__name__}: {error!s:.160})."
        ) from None
    except CheckpointError as error:
        raise CheckpointError(f"{where}: {error}") from None
    except (PlanError, EhapError) as error:
        raise CheckpointError(f"{where}: it does not fit ({error})") from None


def _by_itself(
    tensors: Mapping[str, Tensor], weights: Mapping[str, Tensor] | None, metadata: Mapping[str, Any]
) -> nn.Module:
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    traced = graph_from_data(metadata["graph"], weights, MOST_FOR_EACH_BYTE * size + LEAST)
    named = fx.GraphModule(traced, traced.graph, str(metadata["name"]))
    held: Containers = {path: (kind, children) for path, (kind, children) in metadata["containers"].items()}
    network = PrunedNetwork.of(named.eval(), held)
    channel_graph(network)  # refuses what pruning would not have written
    return network


def _of_model(model: nn.Module, plan: PruningPlan | None, weights: Mapping[str, Tensor] | None) -> nn.Module:
    if plan is not None:
        network: nn.Module = prune(model, plan.kept, plan.order)
    else:
        network = copied(model)
    if weights is None:
        return network
    state = network.state_dict()
    odd = sorted(weights.keys() - state.keys() if plan is None else weights.keys() ^ state.keys())
    odd += [name for name in weights if name in state and weights[name].shape != state[name].shape]
    if odd:
        raise CheckpointError(f"the model is another one: {', '.join(odd[:3])} differ; give the file's own, or none.")
    network.to(next(iter(weights.values())).dtype)
    network.load_state_dict(dict(weights), strict=False)
    return network.cpu()


def _check_plan(network: nn.Module, plan: PruningPlan | None) -> None:
    if plan is None:
        return
    widths = channel_graph(network).widths()
    left = {layer: len(channels) for layer, channels in plan.kept.items()}
    if widths != left:
        odd = sorted(name for name in widths.keys() | left.keys() if widths.get(name) != left.get(name))
        raise PlanError(
            f"the plan leaves another network: {odd[0]} has {widths.get(odd[0], 'no')} channels, by the plan "
            f"{left.get(odd[0], 'none')}; give the plan by which this network was pruned."
        )


def is_quantized(network: nn.Module) -> bool:
    """Return whether a network is simulated, without an import of what quantization needs."""
    return any(each.__name__ == "SimulatedNetwork" for each in type(network).__mro__)
