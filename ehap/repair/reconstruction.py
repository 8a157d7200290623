"""Fit of a pruned network's layers to the outputs of the dense network: least squares, no training."""

import math
from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ehap.errors import ArchitectureError, DataError, NumericsError, PlanError
from ehap.graph import Agreement, check_reading, evaluating, output_of
from ehap.graph.channels import LAYERS, SUMS, ChannelGraph, Kept, channel_graph, places_among
from ehap.graph.counting import output_places
from ehap.graph.forward import trace_forward
from ehap.graph.network import PrunedNetwork
from ehap.graph.reading import EXAMPLES, without_tf32
from ehap.graph.tracing import copied
from ehap.graph.union import UnionAdd
from ehap.pruning.plan import PruningPlan
from ehap.pruning.surgery import checked_kept, same_modes_
from ehap.repair.least_squares import Fitter, LayerFit
from ehap.repair.unseen import Unseen, relative_error, split_images, warn_if_worse
from ehap.repair.walk import Walk
from ehap.runtime.checkpointing import NO_CHECKPOINTS, Checkpointer
from ehap.runtime.device import precision_context


@dataclass(frozen=True)
class Reconstruction:
    """A reconstructed network, the fits of its layers in their order, and the seconds spent.

    reading: The agreement of the dense network and its traced graph on the first images.
    unseen: The gain on the images held out; None where none were.
    """

    network: nn.Module
    fits: tuple[LayerFit, ...]
    seconds: float
    reading: Agreement
    unseen: Unseen | None = None


@torch.no_grad()
def reconstruct(
    dense: nn.Module,
    pruned: nn.Module,
    plan: PruningPlan | Kept,
    images: Tensor,
    ridge: float = 1e-2,
    positions: int | None = 64,
    seed: int = 0,
    checkpointer: Checkpointer = NO_CHECKPOINTS,
    held_out: float = 0.125,
) -> Reconstruction:
    """Fit every layer of a pruned network, in forward order, to the outputs of the dense network; no labels.

    The fit of a layer takes the inputs of the layer in the *pruned* network. Its targets are the dense network's
    outputs (BatchNorm included) at the kept channels. The last writer of a residual sum has another target: the dense
    sum less the output of the other branch. So it repairs the stream, too.

    The fit is ridge regression that pulls towards the trained weights W₀: W = W₀ + Δ with (XᵀX + D) Δ = XᵀE. X are the
    inputs of the layer with a column of ones, and E are the errors under W₀. D = ridge · mean diagonal of XᵀX, and zero
    for the ones. Products of a chunk of images are in the images' type, their sums in float64.

    The fitted rows are rescaled to the norms of the trained rows. The BatchNorm takes the statistics of these images.
    So later training finds the usual scales.

    Args:
        dense: The trained network.
        pruned: The result of ``prune(dense, plan)``, or that network after further training.
        plan: The plan, or its kept channels.
        images: (N, C, H, W), as the networks take them (normalised), float32 or float64, on their device; at least 2
            are fitted.
        ridge: Strength of the ridge, above 0. Small values fit these images better, but leave cancelling weights, with
            which later training diverges. A ResNet-20 was fitted to 64 images and tested on unseen digits. Its error
            was 4.0 % of the variance at 0.1, 3.0 % at 0.01, 3.8 % at 1e-4 and 8.4 % at 1e-8. float64 gave the same: so
            small a ridge is harmful at any precision.
        positions: Number of positions of each map that give equations, drawn anew for every chunk of images; None
            takes all.
        seed: Seed of this draw.
        checkpointer: Keeps the layers fitted so far, whenever it is due; a run that goes on from them gives, on a CPU,
            the network of an unbroken one.
        held_out: Share of the images, drawn by the seed, that is held out to judge the repair: at least one image, at
            most 128. The log says whether the repair made the network worse on them. 0 fits all.

    Returns:
        A new network in the modes of ``pruned``; both networks stay as they are.

    Raises:
        DataError: Fewer than two images are left to fit, or they are of another shape, type or device.
        NumericsError: An image or a layer's output holds NaN or Inf; or the images leave weights open
            that the ridge does not settle, see ``solve_definite``.
        PlanError: The networks do not fit the plan, or the ridge is not above 0.
        ArchitectureError: The network has an operation that pruning does not know, or an add that stretches one of
            its inputs.
        MismatchError: A traced graph and its network give different outputs.
        StoppedError: The checkpointer was told to stop; the state is kept.

    Source: He, Zhang, Sun 2017, Channel Pruning for Accelerating Very Deep Neural Networks, arXiv:1707.06168, for
    chains; here for independently pruned residual branches.
    """
    graph = channel_graph(dense)
    kept = checked_kept(graph, plan)
    _check_images(graph, plan, images, ridge, positions)
    _check_networks(dense, pruned, graph, kept, images[:2])
    split = split_images(len(images), held_out, seed)
    reading = check_reading(dense, images[:EXAMPLES])
    with evaluating(pruned):
        check_reading(pruned, images[:EXAMPLES], trace_forward(pruned))
    result, whole = copied(pruned).eval(), copied(dense).eval()
    inplace = [module for each in (result, whole) for module in each.modules() if getattr(module, "inplace", False)]
    for module in inplace:  # a result may have readers that are still to come
        module.inplace = False  # type: ignore[assignment]
    shown, judging = images[split.shown().to(images.device)], len(split.judging)
    before = relative_error(whole, result, shown, judging) if judging else 0.0
    seen = images[split.fitted.to(images.device)] if judging else images
    walk = Walk(whole, result, graph, kept, seen, Fitter(ridge, positions, seed), checkpointer)
    with precision_context("fp32", images.device), without_tf32():  # whatever the caller has on
        walk.go()
    unseen = Unseen(judging, before, relative_error(whole, result, shown, judging)) if judging else None
    if unseen is not None:
        warn_if_worse(unseen, "reconstruction", "give more images, or a higher ridge")
    for module in inplace:
        module.inplace = True  # type: ignore[assignment]
    same_modes_(result, pruned)
    return Reconstruction(result, tuple(walk.fits), walk.seconds(), reading, unseen)


def _check_images(
    graph: ChannelGraph, plan: PruningPlan | Kept, images: Tensor, ridge: float, positions: int | None
) -> None:
    """Raise unless the networks can take the images, and the images give equations."""
    if not 0 < ridge < math.inf:
        raise PlanError(f"expected a finite ridge above 0, got {ridge:g}.")
    if positions is not None and positions < 1:
        raise PlanError(f"expected at least 1 position of each map, got {positions}.")
    channels = graph.dense[graph.steps[0].name]
    exact = images.dtype in (torch.float32, torch.float64)  # in half the digits the products of rows drown the ridge
    if images.ndim != 4 or images.shape[1] != channels or not exact:  # noqa: PLR2004
        raise DataError(
            f"expected normalised images of shape (N, {channels}, H, W) in float32 or float64, got "
            f"{tuple(images.shape)} of {images.dtype}; of a network in half precision take float()."
        )
    shape, planned = tuple(images.shape[1:]), tuple(plan.input_shape) if isinstance(plan, PruningPlan) else ()
    if planned not in ((), shape):
        raise DataError(f"expected images of the plan's shape {planned}, got {shape}.")
    if not images.isfinite().all():
        raise NumericsError("the images hold NaN or Inf; expected finite pixels.")


def _check_networks(dense: nn.Module, pruned: nn.Module, graph: ChannelGraph, kept: Kept, images: Tensor) -> None:
    """Raise unless the networks are those of the plan and take the images, before long work starts."""
    _check_runs("dense", dense, images)
    output_places(dense, graph, images.shape[1:])  # refuses adds that stretch one of their inputs
    if isinstance(pruned, PrunedNetwork) and pruned.kept and pruned.kept != kept:
        layer = next(layer for layer in kept if pruned.kept.get(layer) != kept[layer])
        raise PlanError(f"{layer}: the network was pruned by another plan, which keeps other channels; give that plan.")
    carried = graph.carried(kept)
    for step in graph.steps:
        if step.kind not in LAYERS:
            continue
        try:
            found = pruned.get_submodule(step.module).weight
        except AttributeError:
            raise PlanError(f"expected a network pruned by the plan, got one without {step.module}.") from None
        whole = dense.get_submodule(step.module).weight
        assert isinstance(found, Tensor)
        assert isinstance(whole, Tensor)
        read, arriving = graph.dense[step.sources[0]], len(carried[step.sources[0]])
        inputs = whole.shape[1] * arriving // read if step.kind != "depthwise" else 1
        expected = (len(carried[step.name]), inputs, *whole.shape[2:])
        if found.shape != expected:
            raise PlanError(
                f"{step.module}: the plan leaves weights of shape {expected}, the network's are {tuple(found.shape)}; "
                "give the network that was pruned by this plan."
            )
    unions = [each for each in pruned.modules() if isinstance(each, UnionAdd)]
    expected_sides = Counter(
        tuple(places_among(places, carried[step.name]) for places in sides)
        for step in graph.steps
        if step.kind in SUMS
        for sides in [[step.arriving(number, carried[source]) for number, source in enumerate(step.sources)]]
        if len(set(sides)) > 1
    )
    if Counter((tuple(each.left.tolist()), tuple(each.right.tolist())) for each in unions) != expected_sides:
        raise PlanError(
            "expected a network whose residual sums carry sorted channels, got another order: that of the published "
            'code ("set"), or another plan\'s; prune the dense network by the plan, its order left out.'
        )
    _check_runs("pruned", pruned, images)


def _check_runs(which: str, network: nn.Module, images: Tensor) -> None:
    """Raise DataError if a network cannot take the images."""
    norms = [
        name for name, each in network.named_modules() if isinstance(each, nn.BatchNorm2d) and each.running_mean is None
    ]
    if norms:
        raise ArchitectureError(f"{norms[0]}: expected BatchNorm2d with running statistics (track_running_stats=True).")
    output_of(copied(network).eval(), images, f"the {which} network")
