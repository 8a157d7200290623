"""Pruners of other libraries, under a budget of parameters."""

import copy
from collections.abc import Callable, Iterator
from contextlib import chdir
from decimal import Decimal
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ehap.errors import PlanError

HALVINGS = 20  # of the interval of the pruning ratio
MCT_BATCHES = 16
AIMET_CANDIDATES, AIMET_EVALUATED = 10, 500  # its default of ratios a layer; images that judge each

Pruner = Callable[[nn.Module, float, Tensor], nn.Module]
"""From a dense network, the largest share of its parameters to keep, and images (N, 3, H, W) to the pruned network.

It raises PlanError where the library is not installed or cannot meet the budget.
"""


def torch_pruning_global(model: nn.Module, share: float, images: Tensor) -> nn.Module:
    """Prune by torch-pruning's dependency graph and the L2 norm of channel groups, ranked globally."""
    return _torch_pruning(model, share, images, everywhere=True)


def torch_pruning_uniform(model: nn.Module, share: float, images: Tensor) -> nn.Module:
    """Prune by torch-pruning's dependency graph and the L2 norm, with the same ratio in every layer."""
    return _torch_pruning(model, share, images, everywhere=False)


def model_compression_toolkit(model: nn.Module, share: float, images: Tensor) -> nn.Module:
    """Prune by model-compression-toolkit: groups of channels by a label-free Hessian score."""
    mct = _library("model_compression_toolkit")

    def batches() -> Iterator[list[Tensor]]:
        yield from ([part] for part in images.split(-(-len(images) // MCT_BATCHES)))

    budget = mct.core.ResourceUtilization(weights_memory=share * 4 * _parameters(model))  # bytes, of float32
    try:
        pruned, _ = mct.pruning.pytorch_pruning_experimental(copy.deepcopy(model).eval(), budget, batches)
    except Exception as error:  # it raises plain Exceptions
        raise PlanError(f"model-compression-toolkit: {error}") from None
    found: nn.Module = pruned
    return found


def aimet(model: nn.Module, share: float, images: Tensor) -> nn.Module:
    """Prune by AIMET: ratios by a greedy search, weights reconstructed layer by layer.

    The search evaluates networks by their agreement with the dense network, which needs no labels. It prunes inputs of
    convolutions inside residual branches only, and may stay well below the share.
    """
    defs = _library("aimet_torch.common.defs")
    compressor = _library("aimet_torch.compress").ModelCompressor
    parameters = _library("aimet_torch.defs").ChannelPruningParameters

    with torch.no_grad():
        answers = torch.cat([model.eval()(part).argmax(1) for part in images.split(500)])

    def agreement(network: nn.Module, _: object = None, use_cuda: bool = False) -> float:
        part = images[:AIMET_EVALUATED].to("cuda" if use_cuda else "cpu")
        with torch.no_grad():
            return float((network(part).argmax(1).cpu() == answers[:AIMET_EVALUATED]).double().mean())

    network = copy.deepcopy(model)
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    greedy = defs.GreedySelectionParameters(Decimal(str(share)), AIMET_CANDIDATES)
    batches = DataLoader(TensorDataset(images, answers), batch_size=64)
    mode = parameters.Mode.auto, parameters.AutoModeParams(greedy, [first])
    settings = parameters(batches, len(images), False, *mode)
    shape, scheme = (1, *images.shape[1:]), defs.CompressionScheme.channel_pruning
    with TemporaryDirectory() as folder, chdir(folder):  # it writes its scores into the current folder
        found, _ = compressor.compress_model(*(network, agreement, 1, shape, scheme, defs.CostMetric.memory, settings))
    pruned: nn.Module = found
    if _parameters(pruned) > share * _parameters(model):
        most = int(share * _parameters(model))
        raise PlanError(f"AIMET: expected at most {most} parameters, got {_parameters(pruned)}.")
    return pruned


PEERS: dict[str, Pruner] = {
    "torch-pruning, group L2, global": torch_pruning_global,
    "torch-pruning, group L2, uniform": torch_pruning_uniform,
    "model-compression-toolkit": model_compression_toolkit,
    "AIMET, reconstructed": aimet,
}


def _torch_pruning(model: nn.Module, share: float, images: Tensor, everywhere: bool) -> nn.Module:
    torch_pruning = _library("torch_pruning")

    def pruned(ratio: float) -> nn.Module:
        smaller = copy.deepcopy(model).eval()
        final = [module for module in smaller.modules() if isinstance(module, nn.Linear)][-1:]
        pruner = torch_pruning.pruner.BasePruner(
            smaller,
            images[:1],
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=ratio,
            global_pruning=everywhere,
            ignored_layers=final,
        )
        pruner.step()
        return smaller

    most, fewest = share * _parameters(model), _parameters(model)
    found: nn.Module | None = None
    # The ratio low prunes too little, high enough. No ratio may be enough: a layer that would lose all channels stays.
    low, high = 0.0, 1.0
    with torch.enable_grad():
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            smaller = pruned(middle)
            fewest = min(fewest, _parameters(smaller))
            if _parameters(smaller) <= most:
                high, found = middle, smaller
            else:
                low = middle
    if found is None:
        raise PlanError(f"torch-pruning: expected at most {int(most)} parameters, got {fewest} at best.")
    return found


def _library(name: str) -> Any:
    """Return a module of another library, which ships no types.

    Raises:
        PlanError: It is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise PlanError(f"{name} cannot be imported ({error}); make bench-prune installs it into .peers.") from None


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
