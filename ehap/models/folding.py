"""BatchNorm as part of the convolution before it."""

import copy
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ehap.errors import ArchitectureError
from ehap.models.tracing import traced as traced_forward


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
    """Return a copy in which every convolution with a BatchNorm behind it is one FoldedConv.

    Its outputs equal those of ``model`` in eval mode, to float tolerance.

    Raises:
        ArchitectureError: A BatchNorm stands elsewhere than directly behind a convolution.
    """
    return _merge_norms(copy.deepcopy(model), FoldedConv)


def fuse_norms(model: nn.Module) -> fx.GraphModule:
    """Return a copy in eval mode in which one convolution with a bias stands for convolution and BatchNorm.

    Raises:
        ArchitectureError: A BatchNorm stands elsewhere than directly behind a convolution.
    """
    return _merge_norms(copy.deepcopy(model).eval(), fuse_conv_bn_eval)


def keep_norms(model: nn.Module) -> fx.GraphModule:
    """Return a copy in which every convolution and the BatchNorm behind it, in eval mode, are one Sequential.

    Raises:
        ArchitectureError: A BatchNorm stands elsewhere than directly behind a convolution, or has no statistics.
    """
    return _merge_norms(copy.deepcopy(model), _side_by_side)


def _side_by_side(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Module:
    _check_statistics(norm)
    return nn.Sequential(conv, norm.eval())


def _check_statistics(norm: nn.BatchNorm2d) -> None:
    if norm.running_mean is None or norm.running_var is None:
        raise ArchitectureError("expected BatchNorm2d with running statistics (track_running_stats=True).")


def _merge_norms(model: nn.Module, merge: Callable[[nn.Conv2d, nn.BatchNorm2d], nn.Module]) -> fx.GraphModule:
    traced = traced_forward(model)
    modules = dict(traced.named_modules())
    calls = Counter(str(node.target) for node in traced.graph.nodes if node.op == "call_module")
    for node in list(traced.graph.nodes):
        norm = modules.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        source = node.args[0]
        assert isinstance(source, fx.Node)
        conv = modules.get(str(source.target))
        if not isinstance(conv, nn.Conv2d) or len(source.users) != 1:
            raise ArchitectureError(f"{node.target}: expected a BatchNorm directly behind a convolution of its own.")
        if calls[str(node.target)] > 1 or calls[str(source.target)] > 1:
            raise ArchitectureError(f"{source.target}: expected a convolution and its BatchNorm to be called once.")
        if any(module._forward_hooks or module._forward_pre_hooks for module in (conv, norm)):
            raise ArchitectureError(f"{source.target}: expected no hooks on a convolution and its BatchNorm.")
        traced.set_submodule(str(source.target), merge(conv, norm))
        node.replace_all_uses_with(source)
        traced.graph.erase_node(node)
        traced.delete_submodule(str(node.target))
    traced.recompile()
    return traced
