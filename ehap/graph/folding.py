"""BatchNorm as part of the convolution before it."""

import copy
from collections import Counter
from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ehap.errors import ArchitectureError
from ehap.graph.tracing import copied
from ehap.graph.tracing import traced as traced_forward


class FoldedConv(nn.Module):
    """A convolution whose weight and bias absorb the BatchNorm behind it, anew at every call.

    w·γ/σ and β + (b - μ)·γ/σ, with the running mean μ and standard deviation σ fixed; w, b, γ and β stay trainable.

    Source: Yao et al. 2021, HAWQ-V3, arXiv:2011.10680, section 3.
    """

    mean: Tensor
    variance: Tensor
    gamma: Tensor
    beta: Tensor

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        _check_statistics(norm)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        self.conv, self.eps = conv, norm.eps
        if norm.affine:
            self.gamma, self.beta = norm.weight, norm.bias
        else:
            self.register_buffer("gamma", torch.ones_like(norm.running_mean))
            self.register_buffer("beta", torch.zeros_like(norm.running_mean))
        self.register_buffer("mean", norm.running_mean.detach().clone())
        self.register_buffer("variance", norm.running_var.detach().clone())

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return the weight (C_out, ...) and the bias (C_out,) of the equivalent single convolution."""
        factor = self.gamma / torch.sqrt(self.variance + self.eps)
        bias = self.beta - self.mean * factor
        if self.conv.bias is not None:
            bias = bias + self.conv.bias * factor
        return self.conv.weight * factor.view(-1, 1, 1, 1), bias

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H', W')."""
        weight, bias = self.folded()
        result: Tensor = self.conv._conv_forward(x, weight, bias)  # with the convolution's own padding mode
        return result


def fold_norms(model: nn.Module) -> fx.GraphModule:
    """Return a copy in which every convolution with BatchNorms behind it is one FoldedConv.

    Its outputs equal those of ``model`` in eval mode, to float tolerance.

    Raises:
        ArchitectureError: A BatchNorm is not directly behind a convolution, or cannot be traced.
    """
    return _merge_norms(copied(model), FoldedConv)


def fuse_norms(model: nn.Module) -> fx.GraphModule:
    """Return a copy in eval mode in which one convolution with a bias replaces convolution and BatchNorm.

    Raises:
        ArchitectureError: As ``fold_norms``.
    """
    return _merge_norms(copied(model).eval(), fuse_conv_bn_eval)


def keep_norms(model: nn.Module) -> fx.GraphModule:
    """Return a copy in which every convolution and the BatchNorm behind it, in eval mode, are one Sequential.

    Raises:
        ArchitectureError: As ``fold_norms``; or a BatchNorm has no statistics, or another BatchNorm follows it.
    """
    return _merge_norms(copied(model), _side_by_side, one_each=True)


def folded_norms(merged: fx.GraphModule) -> dict[str, str]:
    """Return the path of each folded BatchNorm to that of its convolution, in a network from the functions above."""
    found: dict[str, str] = merged.meta["folded_norms"]
    return found


def _side_by_side(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Module:
    _check_statistics(norm)
    return nn.Sequential(conv, norm.eval())


def _check_statistics(norm: nn.BatchNorm2d) -> None:
    if norm.running_mean is None or norm.running_var is None:
        raise ArchitectureError("expected BatchNorm2d with running statistics (track_running_stats=True).")


def _merge_norms(
    model: nn.Module, merge: Callable[[nn.Conv2d, nn.BatchNorm2d], nn.Module], one_each: bool = False
) -> fx.GraphModule:
    traced = traced_forward(model)
    modules = dict(traced.named_modules())
    calls = Counter(str(node.target) for node in traced.graph.nodes if node.op == "call_module")
    behind: dict[fx.Node, list[nn.BatchNorm2d]] = {}  # the norms behind each convolution, in order
    folded: dict[str, str] = {}
    for node in list(traced.graph.nodes):
        norm = modules.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        source = node.all_input_nodes[0]
        conv = modules.get(str(source.target)) if source.op == "call_module" else None
        if not isinstance(conv, nn.Conv2d) or len(source.users) != 1 or (one_each and source in behind):
            raise ArchitectureError(f"{node.target}: expected a BatchNorm directly behind a convolution of its own.")
        if calls[str(node.target)] > 1 or calls[str(source.target)] > 1:
            raise ArchitectureError(f"{source.target}: expected a convolution and its BatchNorm to be called once.")
        if any(module._forward_hooks or module._forward_pre_hooks for module in (conv, norm)):
            raise ArchitectureError(f"{source.target}: expected no hooks on a convolution and its BatchNorm.")
        behind.setdefault(source, []).append(norm)
        folded[str(node.target)] = str(source.target)
        node.replace_all_uses_with(source)
        traced.graph.erase_node(node)
        traced.delete_submodule(str(node.target))
    for source, norms in behind.items():
        conv = modules[str(source.target)]
        assert isinstance(conv, nn.Conv2d)
        traced.set_submodule(str(source.target), merge(conv, reduce(_in_one, norms)))
    traced.recompile()
    traced.meta["folded_norms"] = folded
    return traced


@torch.no_grad()
def _in_one(first: nn.BatchNorm2d, second: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """Return one BatchNorm that equals two in a row in eval mode."""
    for norm in (first, second):
        _check_statistics(norm)
    assert second.running_mean is not None
    assert second.running_var is not None
    gamma, beta = _affine(first)
    scale, shift = _affine(second)
    factor = scale / torch.sqrt(second.running_var + second.eps)
    both = copy.deepcopy(first)
    both.affine = True
    both.weight = nn.Parameter(gamma * factor)
    both.bias = nn.Parameter((beta - second.running_mean) * factor + shift)
    return both.train(first.training)


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return scale and shift of a BatchNorm, without its statistics."""
    assert norm.running_mean is not None
    if norm.affine:
        return norm.weight, norm.bias
    return torch.ones_like(norm.running_mean), torch.zeros_like(norm.running_mean)
