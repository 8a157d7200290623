"""What channel traces cost and how good they are, beside the published form and other libraries."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ehap.curvature.frozen import channel_weights
from ehap.curvature.hutchinson import rademacher
from ehap.curvature.traces import channel_traces
from ehap.runtime import PeakMemory, synchronize
from ehap.settings import Trace

PAPER_SAMPLES = 300


@dataclass(frozen=True)
class Cost:
    """What one contender took.

    seconds: For ``samples`` Hessian-vector products, or for the exact traces (samples 0).
    peak_memory_bytes: See PeakMemory. trace: Parameter name to (C_out,); empty where only products are had.
    """

    seconds: float
    samples: int
    peak_memory_bytes: int
    trace: Mapping[str, Tensor]


def ours(model: nn.Module, images: Tensor, labels: Tensor, settings: Mapping[str, Any]) -> Cost:
    """Run our traces with settings of Trace."""
    found = channel_traces(model, images, labels, Trace(batch_size=len(images), **settings))
    return Cost(found.seconds, found.samples, found.peak_memory_bytes, found.trace)


def published(model: nn.Module, images: Tensor, labels: Tensor, samples: int) -> Cost:
    """Run Hutchinson as the published code does in FP32: whole batch, a Python loop and one ``.item()`` a channel."""
    return _timed(model, images, labels, samples, item_by_item=True)


def plain(model: nn.Module, images: Tensor, labels: Tensor, samples: int) -> Cost:
    """Run plain double backward on the whole batch, with a vectorised sum over each channel."""
    return _timed(model, images, labels, samples, item_by_item=False)


def curvlinops(model: nn.Module, images: Tensor, labels: Tensor, samples: int) -> Cost:
    """Run products of curvlinops' HessianLinearOperator in the channel weights."""
    from curvlinops import HessianLinearOperator  # type: ignore[import-not-found, unused-ignore]

    model.eval()
    weights = channel_weights(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in weights)
    operator = HessianLinearOperator(
        model, nn.CrossEntropyLoss(), list(weights.values()), [(images, labels)], check_deterministic=False
    )
    return _products(list(weights.values()), lambda vectors: operator @ vectors, images.device, samples)


def pyhessian(model: nn.Module, images: Tensor, labels: Tensor, samples: int) -> Cost:
    """Run products of PyHessian, which differentiates in all parameters."""
    from pyhessian import hessian  # type: ignore[import-not-found, unused-ignore]
    from pyhessian.utils import hessian_vector_product  # type: ignore[import-not-found, unused-ignore]

    model.eval()
    operator = hessian(model, nn.CrossEntropyLoss(), data=(images, labels), cuda=images.device.type == "cuda")
    return _products(
        operator.params,
        lambda vectors: hessian_vector_product(operator.gradsH, operator.params, vectors),
        images.device,
        samples,
    )


CONTENDERS: dict[str, Callable[[nn.Module, Tensor, Tensor, int], Cost]] = {
    "published": published,
    "plain": plain,
    "curvlinops": curvlinops,
    "pyhessian": pyhessian,
}


def spearman(found: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> float:
    """Return the rank correlation over all channels of all layers."""
    first, second = (
        pandas.Series(torch.cat([values[name] for name in reference]).numpy()).rank() for values in (found, reference)
    )
    return float(first.corr(second))


def _timed(model: nn.Module, images: Tensor, labels: Tensor, samples: int, item_by_item: bool) -> Cost:
    model.eval()
    weights = channel_weights(model)
    totals = {name: torch.zeros(weight.shape[0], dtype=torch.float64) for name, weight in weights.items()}
    with PeakMemory(images.device) as memory:
        synchronize(images.device)
        began = time.perf_counter()
        gradients = torch.autograd.grad(cross_entropy(model(images), labels), list(weights.values()), create_graph=True)
        for sample in range(samples):
            vectors = rademacher(list(weights.values()), 0, sample, 0)
            products = torch.autograd.grad(
                gradients, list(weights.values()), grad_outputs=vectors, retain_graph=True, only_inputs=True
            )
            for name, vector, product in zip(weights, vectors, products, strict=True):
                if item_by_item:
                    for channel in range(len(vector)):
                        totals[name][channel] += (vector[channel] * product[channel]).sum().item()
                else:
                    totals[name] += (vector * product).flatten(1).sum(1).cpu()
        synchronize(images.device)
        seconds = time.perf_counter() - began
    return Cost(seconds, samples, memory.bytes, {name: total / samples for name, total in totals.items()})


def _products(
    weights: list[Tensor], product: Callable[[list[Tensor]], object], device: torch.device, samples: int
) -> Cost:
    product(rademacher(weights, 0, samples, 0))
    with PeakMemory(device) as memory:
        synchronize(device)
        began = time.perf_counter()
        for sample in range(samples):
            product(rademacher(weights, 0, sample, 0))
        synchronize(device)
        seconds = time.perf_counter() - began
    return Cost(seconds, samples, memory.bytes, {})
