"""Prepare a network for quantization-aware training: trace it, rewrite it, insert fake quantization."""

from collections.abc import Mapping

import torch
from torch import Tensor, fx, nn

from ehap.errors import ArchitectureError, DataError, MismatchError, NumericsError
from ehap.graph import Agreement, check_reading, evaluating, example_images, output_of
from ehap.graph.folding import fold_norms, fuse_norms, keep_norms
from ehap.graph.reading import check_twin
from ehap.graph.tracing import check_readable, copied
from ehap.quantization.canonical import canonical_
from ehap.quantization.layers import called_layers
from ehap.quantization.live_norms import norms_as_modules_
from ehap.quantization.pt2e import prepare_qat_pt2e
from ehap.quantization.quantizer import HawqQuantizer
from ehap.quantization.simulation import SimulatedNetwork
from ehap.settings import Scheme
from ehap.settings.qat import RANGE_MOMENTUM
from ehap.settings.scheme import FLOAT


def prepare_qat(
    model: nn.Module,
    scheme: Scheme,
    input_shape: tuple[int, int, int],
    layer_bits: Mapping[str, int] | None = None,
    example: Tensor | None = None,
    range_momentum: float = RANGE_MOMENTUM,
) -> SimulatedNetwork:
    """Return a copy of ``model`` that simulates integer arithmetic.

    With scheme.norms live, BatchNorm stays behind its convolution of rounded weights, and ``pack`` folds it. Before
    rounding, the outputs of the copy on an example are compared with those of ``model`` in eval mode.

    Args:
        model: Convolutions (with BatchNorm directly behind them, or none), linear layers, ReLU, adds and pooling.
        scheme: Bits, and the handling of BatchNorm's statistics; mix is for ``choose_bits``.
        input_shape: (C, H, W) of one image.
        layer_bits: Layer name to bits of its weights, for every layer; where left out, all have scheme.bits.
        example: Normalised images (N, C, H, W) for the check, on the model's device; random ones where left out.
        range_momentum: Share of the old activation range that stays at each training step.

    Raises:
        ArchitectureError: The network cannot be traced, is not in float32, or has an operation that the scheme does not
            cover; or a layer has no bits.
        DataError: The shape is not that of an image, or the network takes no such images.
        MismatchError: The traced network computes something else; the first layer that differs is named.
        NumericsError: A weight, a statistic or an output is NaN or infinite.
    """
    if len(input_shape) != 3:  # noqa: PLR2004 (channels, rows, columns)
        raise DataError(f"expected the shape (C, H, W) of one image, got {tuple(input_shape)}.")
    check_readable(model)
    if scheme.bits == FLOAT:
        raise ArchitectureError(
            f"bits {FLOAT} means no quantization, so there is nothing to prepare; give bits of 2 to 8."
        )
    for name, parameter in model.named_parameters():
        if parameter.dtype != torch.float32:
            raise ArchitectureError(f"{name}: expected float32, got {parameter.dtype}; take float() of the network.")
    for name, tensor in model.state_dict().items():
        if not tensor.isfinite().all():
            raise NumericsError(
                f"{name}: expected finite numbers to quantize, got NaN or Inf in {int((~tensor.isfinite()).sum())} of "
                f"{tensor.numel()}; train the network anew, or take weights from before its training broke down."
            )
    images = example_images(model, input_shape) if example is None else example
    with evaluating(model), torch.no_grad():
        output_of(model, images)
    with torch.random.fork_rng(devices=[]):  # torchao draws
        return _simulated(model, model, scheme, input_shape, layer_bits, images, range_momentum)


def simulate_shape(
    model: nn.Module, scheme: Scheme, input_shape: tuple[int, int, int], layer_bits: Mapping[str, int] | None
) -> SimulatedNetwork:
    """Return the same as ``prepare_qat`` for a network whose weights do not matter; they are not checked.

    BatchNorm is folded first, so that no statistics are left to train.
    """
    return _simulated(model, fuse_norms(model), scheme, input_shape, layer_bits)


def _simulated(
    original: nn.Module,
    model: nn.Module,
    scheme: Scheme,
    input_shape: tuple[int, int, int],
    layer_bits: Mapping[str, int] | None,
    example: Tensor | None = None,
    range_momentum: float = RANGE_MOMENTUM,
) -> SimulatedNetwork:
    names = called_layers(model)
    if layer_bits is not None and layer_bits.keys() != set(names):
        raise ArchitectureError(f"expected bits for the layers {names}, got bits for {sorted(layer_bits)}.")
    widths = None if layer_bits is None else [layer_bits[name] for name in names]
    live = scheme.norms == "live"
    whole = keep_norms(model) if live else fold_norms(model)
    exported = _exported(whole, input_shape, type(model).__name__)
    canonical_(exported)
    if live:
        norms_as_modules_(exported, whole)
    graph = prepare_qat_pt2e(exported, HawqQuantizer(scheme, widths, range_momentum))
    network = SimulatedNetwork(graph, copied(original).eval(), scheme, input_shape, layer_bits)
    _check_layers(names, len(network.weighted_nodes()))
    if example is not None:
        network.reading = _checked_twin(model, network, example)
    return network


def _exported(whole: fx.GraphModule, input_shape: tuple[int, int, int], name: str) -> fx.GraphModule:
    """Return a network as a graph of torch's operations, for batches of any size.

    Raises:
        ArchitectureError: torch.export refuses it.
    """
    like = next(whole.parameters(), torch.zeros(()))
    batch = torch.export.Dim("batch", min=1, max=65536)
    images = torch.zeros(2, *input_shape, device=like.device, dtype=like.dtype)
    try:
        graph: fx.GraphModule = torch.export.export(whole, (images,), dynamic_shapes=({0: batch},)).module()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # torch raises many classes for networks that it cannot export
        raise ArchitectureError(
            f"{name} cannot be exported ({_first_line(error)}); expected a network of one input, whose operations "
            "depend on no values and on no number of images."
        ) from error
    return graph


def _first_line(error: Exception) -> str:
    """Return the class of an error and the beginning of its message."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:160]}"


def _checked_twin(model: nn.Module, network: SimulatedNetwork, example: Tensor) -> Agreement:
    """Compare a new simulated network, without rounding, with ``model`` in eval mode.

    Raises:
        MismatchError: Their outputs differ.
    """
    for quantizer in network.quantizers():
        quantizer.disable_fake_quant()
        quantizer.disable_observer()
    network.eval()
    try:
        found = check_twin(model, network, example)
    except MismatchError:
        check_reading(model, example)  # names the layer if the network was traced wrongly
        raise
    for quantizer in network.quantizers():
        quantizer.enable_fake_quant()
        quantizer.enable_observer()
    network.train()
    return found


def _check_layers(names: list[str], calls: int) -> None:
    """Check that each layer is called once, and that all convolutions are modules.

    Raises:
        ArchitectureError: A layer is called twice, or a function convolves.
    """
    again = sorted({name for name in names if names.count(name) > 1})
    if again:
        raise ArchitectureError(
            f"{', '.join(again)}: expected layers that are called once in a forward pass, got more calls. A layer has "
            "one scale for its inputs: give each call its own layer."
        )
    if len(names) != calls:
        raise ArchitectureError(
            f"expected convolutions and linear layers as modules (nn.Conv2d, nn.Linear), got {calls} of them in the "
            f"forward pass, but only the modules {names}; make modules of the functions."
        )
