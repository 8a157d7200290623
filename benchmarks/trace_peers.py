"""Hessian-vector products of other libraries, with their cost."""

import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.trace_ways import Clock, Cost, now, plain, published
from ehap.curvature.hutchinson import rademacher
from ehap.graph.layers import layer_weights
from ehap.runtime.memory import PeakMemory

Product = Callable[[list[Tensor]], object]


def curvlinops(model: nn.Module, images: Tensor, labels: Tensor, samples: int, clock: Clock) -> Cost:
    """Run products of curvlinops' HessianLinearOperator in the channel weights."""
    from curvlinops import HessianLinearOperator  # type: ignore[import-not-found, unused-ignore]

    def start() -> tuple[list[Tensor], Product]:
        model.eval()
        weights = layer_weights(model)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in weights)
        operator = HessianLinearOperator(
            model, nn.CrossEntropyLoss(), list(weights.values()), [(images, labels)], check_deterministic=False
        )
        return list(weights.values()), lambda vectors: operator @ vectors

    return _products(start, images.device, samples, clock)


def pyhessian(model: nn.Module, images: Tensor, labels: Tensor, samples: int, clock: Clock) -> Cost:
    """Run products of PyHessian, which differentiates in all parameters."""
    from pyhessian import hessian  # type: ignore[import-not-found, unused-ignore]
    from pyhessian.utils import hessian_vector_product  # type: ignore[import-not-found, unused-ignore]

    def start() -> tuple[list[Tensor], Product]:
        model.eval()
        operator = hessian(model, nn.CrossEntropyLoss(), data=(images, labels), cuda=images.device.type == "cuda")
        return operator.params, lambda vectors: hessian_vector_product(operator.gradsH, operator.params, vectors)

    return _products(start, images.device, samples, clock)


CONTENDERS: dict[str, Callable[[nn.Module, Tensor, Tensor, int, Clock], Cost]] = {
    "published": published,
    "plain": plain,
    "curvlinops": curvlinops,
    "pyhessian": pyhessian,
}


def _products(
    start: Callable[[], tuple[list[Tensor], Product]], device: torch.device, samples: int, clock: Clock
) -> Cost:
    each = []
    with PeakMemory(device) as memory:
        began = now(device, clock)
        weights, product = start()
        for sample in range(samples):
            before = now(device, clock)
            product(rademacher(weights, 0, sample, 0))
            each.append(now(device, clock) - before)
        seconds = now(device, clock) - began
    return Cost(seconds, samples, memory.bytes, {}, statistics.median(each))
