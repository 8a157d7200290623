"""BatchNorm with live statistics behind convolutions of rounded weights."""

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def norms_as_modules_(graph: fx.GraphModule, model: nn.Module) -> None:
    """Put the BatchNorm modules of ``model`` back into its exported network, in place.

    An exported BatchNorm has one mode; a module has both. Weights with a scale for each channel round alike before and
    after BatchNorm's factor: Q(w·γ/σ) = Q(w)·γ/σ. So normalising the convolution with Q(w) by the statistics of the
    batch equals folding them. Torchao's own way divides by γ and matches patterns for half a minute; it is not needed.

    Args:
        graph: Result of torch.export for ``model``.
        model: Result of ``keep_norms``.

    Source: Krishnamoorthi 2018, arXiv:1806.08342, section 3.2.2, for the question; Jacob et al. 2018, arXiv:1712.05877,
    section 3.2, for folding the statistics of a batch.
    """
    for node in list(graph.graph.nodes):
        if node.target != torch.ops.aten.batch_norm.default:
            continue
        path = str(node.args[3].target).rpartition(".")[0]  # of its running mean
        graph.set_submodule(path, model.get_submodule(path))
        with graph.graph.inserting_before(node):
            other = graph.graph.call_module(path, (node.args[0],))
        other.meta = dict(node.meta)
        node.replace_all_uses_with(other)
        graph.graph.erase_node(node)
    graph.graph.eliminate_dead_code()
    graph.recompile()


def norm_of(graph: fx.GraphModule, node: fx.Node) -> nn.BatchNorm2d | None:
    """Return the BatchNorm module that ``node`` calls; None for other nodes."""
    module = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
    return module if isinstance(module, nn.BatchNorm2d) else None


def folded(weight: Tensor, bias: Tensor | None, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return weight (C_out, ...) and bias (C_out,) of a convolution with BatchNorm in eval mode folded in."""
    parts = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    whole, shift = fuse_conv_bn_weights(weight, bias, *parts)  # type: ignore[arg-type]  # it takes None for these
    return whole.detach(), shift.detach()
