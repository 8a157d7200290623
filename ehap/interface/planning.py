"""A plan: which channels of a network stay."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from ehap.errors import ArgumentError
from ehap.graph.reading import answers_of, evaluating
from ehap.interface.arguments import Images, checked_network, gathered
from ehap.pruning.plan import PruningPlan
from ehap.pruning.planner import LIMITS
from ehap.pruning.planner import plan as planned
from ehap.settings.budget import Budget, Limits, Ranking


def plan(
    model: nn.Module,
    scores: Mapping[str, Tensor],
    budget: Budget,
    limits: Limits = LIMITS,
    *,
    balance: Literal["none", "lamp"] = "none",
    residual: Literal["union", "tied"] = "union",
    example: Images,
) -> PruningPlan:
    """Choose the channels to keep, from one ranking of the channels of all layers.

    The channels with the lowest scores are removed until the budget is met, within the limits of each layer. All rows
    of a layer stay whose channels are outputs of the network. Nothing is removed from the network here; ``prune`` does.

    Args:
        model: The network, dense or pruned already; not changed.
        scores: Path of each convolution and linear layer to (C_out,): the higher, the longer a channel stays. The
            result of ``channel_scores``, or your own.
        budget: How much is kept, e.g. ``ehap.Budget(flops=0.5)``.
        limits: What each layer keeps, whatever its scores.
        balance: lamp divides each score by the sum of those in its layer that are no smaller, which balances layers.
        residual: union prunes residual branches on their own; a stream carries the union of their channels. tied lets
            all branches of a stream keep the same channels.
        example: Images (N, C, H, W) as the network takes them: FLOPs depend on their shape, and on them the network is
            compared with the graph that was read off it. Two do.

    Returns:
        The plan; ``print`` shows it as a table, ``to_json`` writes it.

    Raises:
        PlanError: Scores are missing or of another shape, or the limits forbid the budget; the least share is named.
        ArgumentError: An argument is of another kind.
        ArchitectureError: The network has an operation that pruning does not know; it is named.
        MismatchError: The network computes something else than the graph that was read off it.
        DataError, NumericsError: The example cannot be used, or a score or an output is NaN or infinite.

    Source: Lee et al. 2021, arXiv:2010.07611, for the balance; Yu et al. 2021, arXiv:2101.08940, for the ranking.

    >>> import torch, ehap
    >>> conv, flat, fc = torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.Linear(8 * 36, 10)
    >>> model = torch.nn.Sequential(conv, torch.nn.ReLU(), flat, fc).eval()
    >>> scores = ehap.channel_scores(model, criterion="magnitude")
    >>> plan = ehap.plan(model, scores, ehap.Budget(flops=0.5), example=torch.randn(2, 3, 8, 8))
    >>> len(plan.kept["0"])
    4
    """
    checked_network(model, "model", "plan", evaluated=False)
    for name, value, kind in (("budget", budget, Budget), ("limits", limits, Limits)):
        if not isinstance(value, kind):
            raise ArgumentError(
                f"plan: expected an ehap.{kind.__name__} as {name}, e.g. ehap.Budget(flops=0.5) or "
                f"ehap.Limits(min_channels=8), got {value!r:.60}."
            )
    if not isinstance(scores, Mapping):
        raise ArgumentError(f"plan: expected scores as a mapping of layer to (C_out,), got {type(scores).__name__}.")
    images = gathered(example, model, "plan")[:2]
    with evaluating(model), torch.no_grad():
        answers_of(model, images)  # a clear error for images of another shape
    channels, rows, columns = images.shape[1:]
    ranking = Ranking(balance=balance, residual=residual)
    return planned(model, scores, (channels, rows, columns), budget, limits, ranking, images)
