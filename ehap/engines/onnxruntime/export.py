"""Export a network to an ONNX file for ONNX Runtime."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import onnx
import torch
from torch import Tensor, fx, nn

from ehap.engines.conversion import converted
from ehap.engines.onnxruntime.direct import UnknownOperationError, written
from ehap.engines.onnxruntime.rewriting import biases_as_integers_, own_zero_points_, strip_
from ehap.engines.onnxruntime.session import INPUT, OUTPUT, OnnxNetwork
from ehap.engines.proof import check_engine, spread_images
from ehap.errors import ArchitectureError
from ehap.graph import FLOAT, check_agreement, evaluating, example_images, output_of
from ehap.graph.folding import fuse_norms
from ehap.pruning.widening import widened
from ehap.quantization.simulation import SimulatedNetwork
from ehap.runtime.device import precision_context

OPSET = 21
_OPERATORS = logging.getLogger("torch.onnx._internal.exporter._registration")
_LOGGER = logging.getLogger(__name__)
_ADVICE = "ONNX Runtime and torch read an operation differently; remove unusual options of its layers."


def to_onnx(network: SimulatedNetwork, input_shape: tuple[int, int, int], example: Tensor | None = None) -> bytes:
    """Return a quantized network as ONNX: integers between QuantizeLinear and DequantizeLinear, biases in int32.

    ONNX Runtime executes it once; its outputs are compared with those of the network.

    Args:
        network: Result of ``unpack`` or ``deployable``, on the CPU, without unions. It is used up.
        input_shape: (C, H, W) of one image.
        example: Normalised images (N, C, H, W) for the comparison; random ones where left out.

    Raises:
        ArchitectureError: The bias of a layer lies off its int32 grid, or activations have other than 8 bits.
        MismatchError: ONNX Runtime gives other outputs.
    """
    images = spread_images(network, input_shape) if example is None else example
    with torch.no_grad():
        wanted = network.eval()(images)
    model = exported(converted(network), input_shape)
    biases_as_integers_(model)
    own_zero_points_(model)
    strip_(model)
    onnx.checker.check_model(model)
    content = bytes(model.SerializeToString())
    check_engine(OnnxNetwork(content)(images), wanted, "the ONNX file and the simulated network", _ADVICE)
    return content


def floats_to_onnx(
    network: nn.Module,
    input_shape: tuple[int, int, int],
    stands_for: nn.Module | None = None,
    example: Tensor | None = None,
) -> bytes:
    """Return a network in floating point as ONNX.

    ONNX Runtime executes it once; its outputs are compared with those of ``stands_for``.

    Args:
        network: The network to write, e.g. with BatchNorm folded; on the CPU, in eval mode.
        input_shape: (C, H, W) of one image.
        stands_for: The original, e.g. before folding; ``network`` itself where left out.
        example: Images (N, C, H, W) for the comparison; random ones where left out.

    Raises:
        MismatchError: ONNX Runtime gives other outputs.
    """
    content = bytes(exported(network, input_shape).SerializeToString())
    images = example_images(network, input_shape) if example is None else example
    with evaluating(stands_for or network) as original, torch.no_grad():
        wanted = output_of(original, images)
    check_agreement(OnnxNetwork(content)(images), wanted, FLOAT, "the ONNX file and the network", _ADVICE)
    return content


def plain_floats_to_onnx(
    network: nn.Module, input_shape: tuple[int, int, int], round_to: int = 1, example: Tensor | None = None
) -> bytes:
    """Return a dense or pruned network in floating point as ONNX, with plain sums in place of unions.

    BatchNorm is folded into the convolutions where it stands directly behind them. ONNX Runtime executes the file once;
    its outputs are compared with those of the network.

    Args:
        network: On the CPU, in eval mode; not changed.
        input_shape: (C, H, W) of one image.
        round_to: Widths are raised to multiples of it; see ``widened``.
        example: Images (N, C, H, W) for the comparison; random ones where left out.

    Raises:
        ArchitectureError: The network has an operation that pruning does not know.
        MismatchError: ONNX Runtime gives other outputs.
    """
    wide = widened(network, round_to).eval()
    try:
        whole = fuse_norms(wide)
    except ArchitectureError:  # a BatchNorm elsewhere stays one
        whole = wide
    return floats_to_onnx(whole, input_shape, stands_for=network, example=example)


def exported(network: nn.Module, input_shape: tuple[int, int, int]) -> onnx.ModelProto:
    """Return a network on the CPU as an ONNX model for batches of any size."""
    with warnings.catch_warnings(), _quiet(), precision_context("fp32", torch.device("cpu")):
        warnings.simplefilter("ignore")
        images, shapes = torch.zeros(2, *input_shape), ({0: torch.export.Dim("batch", min=1, max=65536)},)
        try:
            return written(_operations_of(network, images, shapes), input_shape, (INPUT, OUTPUT), OPSET)
        except UnknownOperationError as reason:
            _LOGGER.debug("exported by torch: %s", reason)
        program = torch.onnx.export(
            network,
            (images,),
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    return model


def _operations_of(network: nn.Module, images: Tensor, shapes: Any) -> fx.GraphModule:
    """Return a network as a graph of torch's operations; a converted one is such a graph.

    Raises:
        UnknownOperationError: torch cannot make it; its exporter to ONNX has further ways.
    """
    if isinstance(network, fx.GraphModule):
        modules = [node for node in network.graph.nodes if node.op == "call_module" and node.users]
        if not modules:
            return network
    try:
        graph: fx.GraphModule = torch.export.export(network, (images,), dynamic_shapes=shapes).module()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # torch raises many classes
        raise UnknownOperationError(str(error)) from error
    return graph


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch from a warning for each operator of torchvision where that is not installed; it is not needed."""
    level = _OPERATORS.level
    _OPERATORS.setLevel(logging.ERROR)
    try:
        yield
    finally:
        _OPERATORS.setLevel(level)
