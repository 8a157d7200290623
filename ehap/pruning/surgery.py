"""Make the smaller network of a plan, or mask the original one for comparison."""

import operator
from collections.abc import Iterable, Sequence
from typing import get_args

import torch
from torch import Tensor, fx, nn

from ehap.errors import PlanError
from ehap.graph import example_images
from ehap.graph.channels import LAYERS, SUMS, ChannelGraph, Kept, Step, channel_graph
from ehap.graph.forward import trace_forward
from ehap.graph.network import PrunedNetwork
from ehap.graph.tracing import copied
from ehap.graph.union import UnionAdd
from ehap.pruning.plan import Order, PruningPlan
from ehap.pruning.proof import check_pruned


def prune(
    model: nn.Module, plan: PruningPlan | Kept, order: Order | None = None, example: Tensor | None = None
) -> nn.Module:
    """Return the smaller network that a plan leaves: a plain module with the remaining weights.

    Its outputs equal those of ``model`` after ``mask_``, to float tolerance. This is checked on an example first.
    Unions in the order of a set are not checked: their readers get other channels on purpose. The original is not
    changed.

    Args:
        model: The dense network.
        plan: A plan, or layer name to sorted kept output channels, for every convolution and linear
            layer.
        order: Order of the channels in a union; where left out, the order of the plan, or sorted.
        example: Images (N, C, H, W), in the network's type and on its device, on which the pruned network is compared
            with the masked one. Where left out, random ones of the plan's input_shape. Without that, as
            in a mapping of layers, nothing is compared.

    Raises:
        PlanError: The plan names other layers, or channels that a layer does not have.
        ArchitectureError: The network has an operation that pruning does not know.
        MismatchError: The pruned and the masked network give different outputs: the network was misread.
        DataError, NumericsError: The network cannot take the example, or gives NaN or Inf.
    """
    graph = channel_graph(model)
    kept = checked_kept(graph, plan)
    order = order or (plan.order if isinstance(plan, PruningPlan) else "sorted")
    if order not in get_args(Order):
        raise PlanError(f"order: expected one of {', '.join(get_args(Order))}, got {order!r}.")
    pruned = cut(model, graph, kept, order)
    if example is None and isinstance(plan, PruningPlan) and plan.input_shape:
        example = example_images(model, plan.input_shape)
    if example is not None and order == "sorted":
        check_pruned(model, pruned, graph, kept, example)
    return pruned


def cut(model: nn.Module, graph: ChannelGraph, kept: Kept, order: Order) -> nn.Module:
    """Return the smaller network of ``prune``, unchecked.

    Args:
        model: The dense network; its weights need not hold anything yet.
        graph: Its channel graph.
        kept: Plan, as ``checked_kept`` returns it.
        order: Order of the channels in a union.
    """
    if order == "set" and any(step.kind == "union" for step in graph.steps):
        raise PlanError("order set: this network is pruned already; the published code prunes dense networks only.")
    carried = graph.carried(kept)
    pruned = trace_forward(copied(model))
    nodes = {node.name: node for node in pruned.graph.nodes}
    for step in graph.steps:
        inputs = [carried[source] for source in step.sources]
        if step.kind in (*LAYERS, "norm") and step.name not in graph.grouped:
            module = pruned.get_submodule(step.module)
            _shrink_(module, inputs[0], carried[step.name], graph.dense[step.sources[0]])
        elif step.kind in SUMS:
            _replace_sum_(pruned, nodes[step.name], step, inputs, carried[step.name], order)
    pruned.graph.lint()
    pruned.delete_all_unused_submodules()
    pruned.recompile()
    network = PrunedNetwork.like(pruned, model)
    network.kept = {layer: list(channels) for layer, channels in kept.items()}
    same_modes_(network, model)
    return network


def same_modes_(network: nn.Module, model: nn.Module) -> None:
    """Give each module of ``network`` the mode, train or eval, of the module of the same name in ``model``.

    A module without a counterpart takes the mode of ``model`` itself.
    """
    modes = {name: module.training for name, module in model.named_modules()}
    for name, module in network.named_modules():
        module.training = modes.get(name, model.training)


def mask_(model: nn.Module, plan: PruningPlan | Kept) -> None:
    """Zero the removed channels of a plan (weights, biases, BatchNorm scale and shift), in place.

    Arguments and errors are those of ``prune``.
    """
    graph = channel_graph(model)
    kept = checked_kept(graph, plan)
    carried = graph.carried(kept)
    with torch.no_grad():
        for step in graph.steps:
            if step.kind not in (*LAYERS, "norm"):
                continue
            gone = sorted(set(range(graph.dense[step.name])) - set(carried[step.name]))
            module = model.get_submodule(step.module)
            for parameter in module.parameters(recurse=False):
                parameter[gone] = 0


def checked_kept(graph: ChannelGraph, plan: PruningPlan | Kept) -> Kept:
    """Return the kept channels of a plan as lists of plain numbers, if the plan is for this network."""
    layers = graph.widths()
    kept = plan.kept if isinstance(plan, PruningPlan) else plan
    if isinstance(plan, PruningPlan) and set(kept) == set(layers) and plan.widths != layers:
        name = next(name for name in [*layers, *plan.widths] if plan.widths.get(name) != layers.get(name))
        raise PlanError(
            f"the plan is for another model: {name} has {layers.get(name, 'no')} channels, the plan's "
            f"{plan.widths.get(name, 'none')}."
        )
    if set(kept) != set(layers):
        odd = sorted(set(kept) ^ set(layers))
        raise PlanError(f"the plan is for another model: it and the model differ in the layers {', '.join(odd[:4])}.")
    kept = {layer: _plain(layer, kept[layer]) for layer in layers}
    for layer, width in layers.items():
        channels = kept[layer]
        if channels != sorted(set(channels)) or not channels or channels[0] < 0 or channels[-1] >= width:
            raise PlanError(
                f"{layer}: expected sorted channels out of 0 to {width - 1}, at least one, got {channels!s:.80}."
            )
    for layer in graph.unpruned():
        if len(kept[layer]) != layers[layer]:
            raise PlanError(f"{layer}: its rows are the network's outputs, or a group's, and must all stay.")
    return kept


def _plain(layer: str, channels: Sequence[int]) -> list[int]:
    """Return indices, which may be a tensor or an array, as plain numbers; others would be told apart by identity."""
    if not isinstance(channels, Iterable):
        raise PlanError(f"{layer}: expected a list of the channels that stay, got {channels!r}.")
    mask = any(str(getattr(item, "dtype", type(item).__name__)).endswith("bool") for item in channels)
    try:
        found = [] if mask else [operator.index(item) for item in channels]
    except TypeError:
        mask = True
    if mask:
        raise PlanError(
            f"{layer}: expected the indices of channels, whole numbers, got {' '.join(str(channels).split())[:80]}."
        )
    return found


def _shrink_(module: nn.Module, inputs: tuple[int, ...], outputs: tuple[int, ...], dense_inputs: int) -> None:
    """Keep the given input and output channels of one convolution, linear layer or BatchNorm, in place."""
    if isinstance(module, nn.BatchNorm2d):
        for name in ("weight", "bias", "running_mean", "running_var"):
            _select_(module, name, 0, list(outputs))
        module.num_features = len(outputs)
        return
    assert isinstance(module, (nn.Conv2d, nn.Linear))
    _select_(module, "weight", 0, list(outputs))
    if module.bias is not None:
        _select_(module, "bias", 0, list(outputs))
    if isinstance(module, nn.Conv2d) and module.groups > 1:  # depthwise: each row reads its own channel
        module.in_channels = module.out_channels = module.groups = len(outputs)
        return
    spread = module.weight.shape[1] // dense_inputs  # above 1 after flattening a feature map: features a channel
    columns = [channel * spread + offset for channel in inputs for offset in range(spread)]
    _select_(module, "weight", 1, columns)
    if isinstance(module, nn.Conv2d):
        module.in_channels, module.out_channels = len(inputs), len(outputs)
    elif isinstance(module, nn.Linear):
        module.in_features, module.out_features = len(columns), len(outputs)


def _select_(module: nn.Module, name: str, axis: int, indices: list[int]) -> None:
    tensor = getattr(module, name)
    if tensor is None:
        return
    selected = tensor.detach().index_select(axis, torch.tensor(indices, device=tensor.device)).clone()
    is_parameter = isinstance(tensor, nn.Parameter)
    setattr(module, name, nn.Parameter(selected, tensor.requires_grad) if is_parameter else selected)


def _free(model: fx.GraphModule, name: str) -> str:
    """Return a name that no module has; a network that was pruned before has unions under names of other sums."""
    while hasattr(model, name):
        name += "_"
    return name


def _replace_sum_(
    model: fx.GraphModule,
    node: fx.Node,
    step: Step,
    inputs: Sequence[Sequence[int]],
    union: tuple[int, ...],
    order: Order,
) -> None:
    """Let an add or a union sum what its inputs carry now: a plain add where they carry the same channels."""
    left, right = (step.arriving(number, channels) for number, channels in enumerate(inputs))
    if step.kind == "add" and left == right:
        return
    if order == "set":
        union = tuple(set(tuple(inputs[0]) + tuple(inputs[1])))
    with model.graph.inserting_after(node):
        if left == right:
            call = model.graph.call_function(operator.add, tuple(node.args[:2]))
        else:
            of_left, of_right = (
                [place for place, channel in enumerate(union) if channel in each] for each in (left, right)
            )
            name = step.module or _free(model, f"union_{node.name}")
            add = UnionAdd(of_left, of_right, len(union)).to(next(model.parameters()).device)
            model.add_submodule(name, add)
            call = model.graph.call_module(name, args=tuple(node.args[:2]))
    node.replace_all_uses_with(call)
    model.graph.erase_node(node)
