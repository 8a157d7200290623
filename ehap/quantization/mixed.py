"""Mixed precision: choose the bits of each layer by an integer linear program."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy
import torch
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import Tensor, nn

from ehap.errors import NumericsError
from ehap.graph.folding import fuse_norms
from ehap.quantization.affine import dequantize, quantize
from ehap.quantization.layers import called_layers, layer_weight
from ehap.settings import Scheme


@dataclass(frozen=True)
class LayerCost:
    """The costs of one layer.

    weights: Their number. operations: Multiply-adds for one image. damage: Bits to the rise of the loss by rounding.
    """

    weights: int
    operations: int
    damage: dict[int, float]


def mixed_bits(
    model: nn.Module,
    scheme: Scheme,
    input_shape: tuple[int, int, int],
    traces_of: Callable[[nn.Module], Mapping[str, Tensor]],
) -> dict[str, int]:
    """Return layer → bits of its weights, chosen from scheme.mix by the damage of rounding.

    Args:
        model: The network in floating point, in eval mode.
        scheme: mix and its budget.
        input_shape: (C, H, W) of one image.
        traces_of: Returns layer → (C_out,) traces of the Hessian, for the network with BatchNorm folded.

    Raises:
        ArchitectureError: BatchNorm cannot be folded.
        NumericsError: A trace is not finite.
    """
    folded = fuse_norms(model)
    return choose_bits(layer_costs(folded, traces_of(folded), scheme.mix, input_shape), scheme)


@torch.no_grad()
def layer_costs(
    model: nn.Module, traces: Mapping[str, Tensor], choices: Sequence[int], input_shape: tuple[int, int, int]
) -> dict[str, LayerCost]:
    """Return layer → costs; the damage of b bits is trace / p · ‖Q_b(w) − w‖² for p weights, without the factor ½.

    Args:
        model: The network, BatchNorm folded into the convolutions (``fuse_norms``), since folded weights are rounded.
        traces: Layer → (C_out,), of ``model`` itself; a layer's is their sum, at least 0.
        choices: Bits.
        input_shape: (C, H, W) of one image.

    Raises:
        NumericsError: A trace is not finite.

    Source: Dong et al. 2020, HAWQ-V2, arXiv:1911.03852; Yao et al. 2021, HAWQ-V3, arXiv:2011.10680.
    """
    positions = _positions(model, input_shape)
    costs = {}
    for name in called_layers(model):
        weight = layer_weight(model, name)
        trace = traces[name].double().sum().item()
        if not math.isfinite(trace):
            raise NumericsError(f"{name}: expected a finite trace, got {trace}.")
        damage = {bits: max(0.0, trace) / weight.numel() * _rounding_error(weight, bits) for bits in choices}
        costs[name] = LayerCost(weight.numel(), weight.numel() * positions[name], damage)
    return costs


def choose_bits(costs: Mapping[str, LayerCost], scheme: Scheme) -> dict[str, int]:
    """Return layer → bits of its weights: the smallest sum of damages within the budget of ``scheme``.

    It is smallest to within the solver's 1e-6 of the largest damage of a layer. The solver is HiGHS, branch and cut for
    integer linear programs, in scipy. PuLP would add a package and a second solver.
    """
    by_size = scheme.size is not None
    amounts = {name: cost.weights if by_size else cost.operations for name, cost in costs.items()}
    columns = list(product(costs, scheme.mix))  # one 0/1 variable each: this layer has these bits
    damage = numpy.array([costs[name].damage[bits] for name, bits in columns])
    shares = {name: amount / sum(amounts.values()) for name, amount in amounts.items()}
    spent = numpy.array([scheme.cost_of(bits) * shares[name] for name, bits in columns])
    one_each = numpy.array([[float(name == layer) for name, _ in columns] for layer in costs])
    found = milp(
        damage / (damage.max() or 1.0),  # the solver treats 1e-7 as zero
        integrality=numpy.ones(len(columns)),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(spent, ub=scheme.budget), LinearConstraint(one_each, 1, 1)],
        options={"mip_rel_gap": 0},
    )
    assert found.success, found.message
    return {name: bits for (name, bits), taken in zip(columns, found.x, strict=True) if round(taken)}


def _rounding_error(weight: Tensor, bits: int) -> float:
    """Return the sum of squared differences between weights (C_out, …) and the same rounded to ``bits``."""
    limit = 2 ** (bits - 1) - 1
    rows = weight.double().flatten(1)
    scale = (rows.abs().amax(1, keepdim=True) / limit).clamp(min=torch.finfo(torch.float64).tiny)
    rounded = dequantize(quantize(rows, scale, 0, -limit, limit), scale)
    return (rounded - rows).square().sum().item()


def _positions(model: nn.Module, input_shape: tuple[int, int, int]) -> dict[str, int]:
    """Return layer → number of positions of an image that use its weights."""
    found: dict[str, int] = {}

    def counter(name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 (a hook)
        return lambda module, inputs, output: found.update({name: math.prod(output.shape[2:])})

    hooks = [model.get_submodule(name).register_forward_hook(counter(name)) for name in called_layers(model)]
    device = next(model.parameters()).device
    model(torch.zeros(1, *input_shape, device=device))
    for hook in hooks:
        hook.remove()
    return found
