"""BatchNorm whose statistics follow the training, behind convolutions of rounded weights."""

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def norms_as_modules_(graph: fx.GraphModule, model: nn.Module) -> None:
    """Give an exported network the BatchNorm modules of ``model`` back, in place.

    Exported, BatchNorm is an operation of one mode for good; a module has both. Torchao's own way with it, which
    divides by γ and matches patterns for half a minute, is not needed for weights with a scale for each channel: these
    are rounded alike before and after BatchNorm's factor, Q(w·γ/σ) = Q(w)·γ/σ, so that normalising the convolution with
    Q(w) by the statistics of the batch is what folding these would compute.

    Args:
        graph: As torch.export gives it of ``model``.
        model: What ``keep_norms`` has returned.

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
    """Return the BatchNorm that ``node`` is a call of; None where it is something else."""
    module = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
    return module if isinstance(module, nn.BatchNorm2d) else None


def folded(weight: Tensor, bias: Tensor | None, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return weight (C_out, ...) and bias (C_out,) of convolution and BatchNorm in eval mode as one convolution."""
    parts = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    whole, shift = fuse_conv_bn_weights(weight, bias, *parts)  # type: ignore[arg-type]  # it takes None for these
    return whole.detach(), shift.detach()
