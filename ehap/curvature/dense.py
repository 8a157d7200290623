"""The full Hessian of a tiny model: the reference that estimators are tested against."""

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from ehap.graph.layers import layer_weights


def dense_hessian(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the whole Hessian of the mean cross-entropy in the convolution and linear weights.

    Independent of the estimators: forward-over-reverse functional transforms, no graph of gradients.

    Args:
        model: Tiny; the result has P² entries for P weights.
        images: (N, 3, H, W), normalised.
        labels: (N,) int64.

    Returns:
        (P, P) in the order of layer_weights, each weight flattened; in loss units per squared weight unit.
    """
    weights = layer_weights(model)
    flat = torch.cat([weight.detach().flatten() for weight in weights.values()])

    def loss(vector: Tensor) -> Tensor:
        parts = vector.split([weight.numel() for weight in weights.values()])
        named = {f"{name}.weight": part.view_as(weights[name]) for name, part in zip(weights, parts, strict=True)}
        return cross_entropy(functional_call(model, named, (images,)), labels)

    return torch.func.hessian(loss)(flat)  # type: ignore[no-any-return]


def dense_channel_traces(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return the exact channel traces of the dense Hessian: module path to (C_out,)."""
    diagonal = dense_hessian(model, images, labels).diagonal()
    weights = layer_weights(model)
    parts = diagonal.split([weight.numel() for weight in weights.values()])
    return {name: part.view(weights[name].shape[0], -1).sum(1) for name, part in zip(weights, parts, strict=True)}
