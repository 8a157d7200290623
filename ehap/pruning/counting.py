"""Parameters of a pruned network by arithmetic on kept channels; no network is built."""

from torch import nn

from ehap.pruning.channels import ChannelGraph, Kept


class ParameterCounter:
    """Count the parameters that a network has under a plan."""

    def __init__(self, model: nn.Module, graph: ChannelGraph) -> None:
        self._graph = graph
        self._modules = {step.module: model.get_submodule(step.module) for step in graph.steps if step.module}

    def __call__(self, kept: Kept) -> int:
        """Return weights and biases of convolutions, linear layers and BatchNorms under ``kept``."""
        carried = self._graph.carried(kept)
        total = 0
        for step in self._graph.steps:
            module = self._modules.get(step.module)
            if isinstance(module, nn.BatchNorm2d):
                total += 2 * len(carried[step.name])
            elif isinstance(module, (nn.Conv2d, nn.Linear)):
                inputs = len(carried[step.sources[0]])
                dense_inputs, rows = self._graph.dense[step.sources[0]], len(carried[step.name])
                per_input = module.weight[0].numel() // dense_inputs
                total += rows * (inputs * per_input + (module.bias is not None))
        return total
