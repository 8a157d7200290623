"""The smaller network that a plan leaves."""

from collections.abc import Mapping, Sequence

from torch import nn

from ehap.errors import ArgumentError
from ehap.interface.arguments import Images, checked_network, gathered
from ehap.pruning.plan import PruningPlan
from ehap.pruning.surgery import prune as pruned


def prune(
    model: nn.Module, plan: PruningPlan | Mapping[str, Sequence[int]], example: Images | None = None
) -> nn.Module:
    """Return the smaller network that a plan leaves: a plain module with the remaining weights.

    Its outputs are those of ``model`` with the removed channels set to 0; this is checked on the example. It keeps the
    modes of ``model``, the paths of its modules, its Sequentials and lists, and a ``train`` of its classes' own. Other
    methods and attributes of the classes are lost, and so are calls of single blocks, which raise: their sums would add
    channels that no longer belong together. Modules that the forward pass in the present mode does not use are dropped.

    Args:
        model: The network by which the plan was made, in any mode; not changed. It may be pruned already.
        plan: The result of ``plan``; or path of each convolution and linear layer to the channels that stay, sorted.
        example: Images (N, C, H, W) for the comparison; random ones of the plan's shape where left out. For a plain
            mapping without an example nothing is compared.

    Returns:
        A network that can be trained, scripted, compiled, exported, and pruned again.

    Raises:
        ArgumentError: The model is no module, or the plan is of another kind.
        PlanError: The plan is for another network, or names channels that a layer does not have.
        ArchitectureError: The network has an operation that pruning does not know; it is named.
        MismatchError: The pruned and the masked network give different outputs; the first layer is named.
        DataError, NumericsError: The example cannot be used, or an output is NaN or infinite.

    Source: Yu et al. 2021, arXiv:2101.08940, for independent residual branches.

    >>> import torch, ehap
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3)).eval()
    >>> small = ehap.prune(model, {"0": [0, 3, 5], "2": [0, 1, 2, 3]}, example=torch.randn(2, 3, 8, 8))
    >>> [tuple(each.shape) for each in small.parameters()]
    [(3, 3, 3, 3), (3,), (4, 3, 3, 3), (4,)]
    """
    checked_network(model, "model", "prune", evaluated=False)
    if not isinstance(plan, (PruningPlan, Mapping)):
        raise ArgumentError(f"prune: expected a plan of ehap.plan, got {type(plan).__name__}.")
    return pruned(model, plan, example=None if example is None else gathered(example, model, "prune")[:8])
