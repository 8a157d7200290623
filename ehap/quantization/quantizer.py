"""Annotate a network for torchao's PT2E flow with HAWQ-V3's quantization scheme."""

from collections.abc import Sequence, Set
from itertools import repeat
from typing import Any

import torch
from torch import fx

from ehap.errors import ArchitectureError
from ehap.quantization.canonical import options
from ehap.quantization.live_norms import norm_of
from ehap.quantization.observers import CentredObserver, PresentObserver, RangeObserver
from ehap.quantization.pt2e import (
    FakeQuantize,
    QuantizationAnnotation,
    QuantizationSpec,
    QuantizationSpecBase,
    Quantizer,
)
from ehap.settings import Scheme
from ehap.settings.qat import RANGE_MOMENTUM

EPSILON = 2.0**-24
"""Smallest scale, e.g. of a tensor of zeros."""
aten = torch.ops.aten
WEIGHTED = (aten.conv2d.default, aten.linear.default)
HARDTANH = (aten.hardtanh.default, aten.hardtanh_.default)
"""ReLU6 if its lower bound is 0; others are refused."""
RELU = (aten.relu.default, aten.relu_.default, *HARDTANH)
ADD = (aten.add.Tensor, aten.add_.Tensor, aten.index_add.default)
POOL = (aten.avg_pool2d.default,)
MOVED = (
    aten.flatten.using_ints,
    aten.view.default,
    aten.reshape.default,
    aten.index_copy.default,
    aten.max_pool2d.default,
)
"""Operations that move or choose quantized values without changing them; the zeros they add lie on every grid."""
UNTOUCHED = (aten.new_zeros.default, aten.sym_size.int)


class HawqQuantizer(Quantizer):  # type: ignore[misc]  # torchao ships no types
    """Annotate a residual convolutional network for uniform quantization.

    - Weights: symmetric, one scale for each output channel, recomputed every step.
    - Activations after ReLU and pooling: asymmetric, unsigned.
    - Network input and branch outputs before a residual add: symmetric, stored unsigned with the zero point in the
      middle, as integer engines require.
    - Adds: both inputs are quantized, each at its own scale; the sum is quantized after the ReLU. An engine rescales
      both to the scale of the sum. HAWQ-V3's third rounding before the add is not simulated.
    - Biases and logits stay in floating point; after training, biases are rounded to the int32 grid S_w·S_x.

    Source: Yao et al. 2021, HAWQ-V3, arXiv:2011.10680; Eq. 9 and 10 of the paper.

    Args:
        scheme: Bits.
        widths: Bits of the weights of each layer, in forward order; None: scheme.bits for all.
        range_momentum: Share of the old activation range that stays at each training step.
    """

    def __init__(
        self, scheme: Scheme, widths: Sequence[int] | None = None, range_momentum: float = RANGE_MOMENTUM
    ) -> None:
        super().__init__()
        averaging, activations = 1 - range_momentum, scheme.width_of_activations
        self.weights = repeat(weight_spec(scheme.bits)) if widths is None else iter(map(weight_spec, widths))
        self.unsigned = activation_spec(activations, averaging, symmetric=False)
        self.signed = activation_spec(activations, averaging, symmetric=True)

    def annotate(self, model: fx.GraphModule) -> fx.GraphModule:
        """Annotate every node with the quantization of its weight and its output.

        Raises:
            ArchitectureError: The network has an operation that this scheme does not cover.
        """
        norms = {node for node in model.graph.nodes if norm_of(model, node)}
        for node in model.graph.nodes:
            if node not in norms and (node.op not in ("placeholder", "call_function") or _is_constant(node)):
                continue
            if node.target in UNTOUCHED:
                continue
            inputs = {}
            if node.target in WEIGHTED:
                inputs = {node.args[1]: next(self.weights)}
            node.meta["quantization_annotation"] = QuantizationAnnotation(
                input_qspec_map=inputs, output_qspec=self._output(node, norms), _annotated=True
            )
        return model

    def _output(self, node: fx.Node, norms: Set[fx.Node]) -> QuantizationSpecBase | None:
        if not _covered(node):
            raise ArchitectureError(f"{_place(node)}: {_reason(node)}.")
        if node.op == "placeholder":
            return self.signed
        if node.target in RELU or node.target in POOL:
            return self.unsigned
        if node in norms or node.target in WEIGHTED or node.target in ADD:
            inner = _ends_in(node, RELU) or _is_logits(node) or not norms.isdisjoint(node.users)
            return None if inner else self.signed
        return None

    def validate(self, model: fx.GraphModule) -> None:
        """Do nothing: annotate has checked every node."""


def weight_spec(bits: int) -> QuantizationSpec:
    """Return symmetric quantization of each output channel; scale = max|w| / (2^(bits-1) - 1) at each call."""
    limit = 2 ** (bits - 1) - 1
    fake_quantize: Any = FakeQuantize.with_args(observer=PresentObserver, eps=EPSILON)
    return QuantizationSpec(torch.int8, fake_quantize, -limit, limit, torch.per_channel_symmetric, ch_axis=0)


def activation_spec(bits: int, averaging: float, symmetric: bool) -> QuantizationSpec:
    """Return quantization of a whole tensor to 0 … 2^bits - 1 from its range over batches."""
    fake_quantize: Any = FakeQuantize.with_args(
        observer=CentredObserver if symmetric else RangeObserver,
        averaging_constant=averaging,
        eps=EPSILON,
    )
    scheme = torch.per_tensor_symmetric if symmetric else torch.per_tensor_affine
    return QuantizationSpec(torch.uint8, fake_quantize, 0, 2**bits - 1, scheme)


def _covered(node: fx.Node) -> bool:
    if node.target in HARDTANH:
        return _lowest(node) == 0
    if node.target in POOL:
        return not _pooled_otherwise(node)
    return node.op != "call_function" or node.target in (*WEIGHTED, *RELU, *ADD, *POOL, *MOVED)


def _place(node: fx.Node) -> str:
    """Return the layer that an operation belongs to, and the operation: ``block7.act (silu)``."""
    modules = [path for path, _ in node.meta.get("nn_module_stack", {}).values()]
    return f"{modules[-1]} ({node.name})" if modules and modules[-1] else node.name


def _reason(node: fx.Node) -> str:
    """Return why an operation that ``canonical_`` has left has no integer kernel."""
    text = f"{node.target} is not an operation that quantization covers"
    if node.target in HARDTANH:
        text = f"expected a Hardtanh with lower bound 0, such as ReLU6, got lower bound {_lowest(node)}"
    elif node.target == aten.dropout.default:
        text = "expected dropout in eval mode; call eval() of the network"
    elif node.target == aten.mean.dim:
        text = f"expected a mean over height and width, got one over {node.args[1]}"
    elif node.target == aten.conv2d.padding:
        text = "expected as much padding on both sides; take an odd kernel, or give the padding in pixels"
    elif node.target == aten.adaptive_avg_pool2d.default:
        present, wanted = (tuple(each.meta["val"].shape[2:]) for each in (node.all_input_nodes[0], node))
        text = f"expected windows of equal size, got a map of {present} to be pooled to {wanted}"
    elif node.target in POOL:
        text = _pooled_otherwise(node)
    return text


def _pooled_otherwise(node: fx.Node) -> str:
    """Return why engines pool differently from torch; empty where they agree."""
    _, _, _, padding, ceil, counted, divisor = options(node)
    if divisor is not None:
        return (
            f"divisor_override={divisor} of average pooling has no integer kernel; put the factor into the next layer"
        )
    if ceil and counted and padding:
        return (
            "a window of average pooling reaches beyond the padding (ceil_mode), where engines count otherwise; take "
            "count_include_pad=False or ceil_mode=False"
        )
    return ""


def _lowest(node: fx.Node) -> object:
    """Return the lower bound of a Hardtanh."""
    return node.args[1] if len(node.args) > 1 else -1


def _ends_in(node: fx.Node, targets: tuple[object, ...]) -> bool:
    return all(user.target in targets for user in node.users)


def _is_constant(node: fx.Node) -> bool:
    """Return whether the node depends on parameters only, e.g. a folded weight or bias."""
    return node.op == "get_attr" or (node.op == "call_function" and all(map(_is_constant, node.all_input_nodes)))


def _is_logits(node: fx.Node) -> bool:
    return any(user.op == "output" for user in node.users)
