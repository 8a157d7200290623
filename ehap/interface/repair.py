"""A pruned network repaired without labels and without training."""

from torch import nn

from ehap.errors import ArgumentError
from ehap.interface.arguments import Images, checked_network, gathered
from ehap.pruning.plan import PruningPlan
from ehap.repair.reconstruction import reconstruct as reconstructed
from ehap.settings.checks import count, positive, share

LEAST = 3  # two to fit layers to, and one that judges


def reconstruct(
    network: nn.Module,
    teacher: nn.Module,
    plan: PruningPlan,
    images: Images,
    *,
    ridge: float = 1e-2,
    positions: int | None = 64,
    held_out: float = 0.125,
    seed: int = 0,
) -> nn.Module:
    """Return the pruned network with every layer fitted to what the dense network computes, by least squares.

    The layers are fitted in forward order, each to the outputs of the dense network's layer at the kept channels, from
    the inputs that it has in the pruned network. Residual sums are repaired, too. No labels, no gradients; some hundred
    images do, thousands do better.

    Args:
        network: The result of ``prune(teacher, plan)``, or that network after training, in eval mode; not changed.
        teacher: The dense network in eval mode, on the same device; not changed.
        plan: The plan by which ``network`` was pruned.
        images: Normalised images (N, C, H, W), without labels, at least 3: a tensor or an iterable of batches, on any
            device.
        ridge: Strength of the pull towards the trained weights, above 0.
        positions: Number of positions of each feature map that give equations, drawn for every chunk of images; None
            takes all.
        held_out: Share of the images, at most 128 of them, that is not fitted but judges the repair. The log warns
            where it made the network worse on them.
        seed: Seed of these draws.

    Returns:
        A new network of the same architecture, in eval mode.

    Raises:
        ArgumentError: A network is no module or in train mode, or they lie on different devices.
        PlanError: The network was pruned by another plan.
        SettingsError: A number is out of its range.
        DataError: There are too few images, or they have another shape or type.
        ArchitectureError: A network has an operation that pruning does not know.
        MismatchError, NumericsError: See ``prune``; or the images leave weights open that the ridge does not settle.

    Source: He, Zhang, Sun 2017, arXiv:1707.06168, for chains of layers; here for residual branches as well.

    >>> import torch, ehap
    >>> conv, flat, fc = torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.Linear(8 * 36, 10)
    >>> model, images = torch.nn.Sequential(conv, torch.nn.ReLU(), flat, fc).eval(), torch.randn(64, 3, 8, 8)
    >>> scores = ehap.channel_scores(model, images)
    >>> plan = ehap.plan(model, scores, ehap.Budget(params=0.5), example=images[:2])
    >>> pruned = ehap.prune(model, plan)
    >>> repaired = ehap.reconstruct(pruned, teacher=model, plan=plan, images=images)
    >>> error = lambda network: (network(images) - model(images)).norm()
    >>> bool(error(repaired) < error(pruned))
    True
    """
    checked_network(network, "network", "reconstruct")
    checked_network(teacher, "teacher", "reconstruct")
    if not isinstance(plan, PruningPlan):
        raise ArgumentError(f"reconstruct: expected a plan of ehap.plan, got {type(plan).__name__}.")
    positive("ridge", ridge)
    share("held_out", held_out, zero=True, one=False)
    count("seed", seed, 0)
    if positions is not None:
        count("positions", positions, 1)
    devices = [next(each.parameters()).device for each in (network, teacher)]
    if devices[0] != devices[1]:
        raise ArgumentError(f"reconstruct: expected network and teacher on one device, got {devices[0]}, {devices[1]}.")
    inputs = gathered(images, teacher, "reconstruct", LEAST if held_out else LEAST - 1)
    found = reconstructed(teacher, network, plan, inputs, ridge, positions, seed, held_out=held_out)
    return found.network
