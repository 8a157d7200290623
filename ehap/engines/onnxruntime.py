"""A packed network as an ONNX file that ONNX Runtime executes with integer kernels."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy
import onnx
import onnxruntime
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from ehap.engines.conversion import converted
from ehap.engines.exact_sums import set_option_
from ehap.engines.proof import check_engine, spread_images
from ehap.errors import ArchitectureError, CheckpointError, DataError
from ehap.graph import FLOAT, check_agreement, evaluating, example_images, output_of
from ehap.quantization.packing import Packed
from ehap.quantization.simulation import SimulatedNetwork
from ehap.runtime.device import precision_context
from ehap.runtime.files import writing

OPSET = 21
INPUT, OUTPUT = "images", "logits"
INTEGER = (
    "QLinearConv",
    "QGemm",
    "QLinearAdd",
    "QLinearAveragePool",
    "QLinearGlobalAveragePool",
    "QLinearMatMul",
)
MOVING = ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "MaxPool", "NhwcMaxPool")
"""What changes no value."""
REST_AFTER_CALLS = "session.force_spinning_stop"
"""A session's option without which its idle threads go on spinning, and slow down whatever runs next."""
_ADVICE = "ONNX Runtime reads an operation otherwise than torch; leave out unusual options of its layers."


class Placed(Protocol):
    """Where the weights of a layer lie in a wider one: rows, columns, and its size."""

    @property
    def rows(self) -> tuple[int, ...]:
        """Of the weights, in the wider layer."""

    @property
    def columns(self) -> tuple[int, ...]:
        """Of the weights, in the wider layer."""

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the wider layer."""


def widen(packed: Packed, placements: Mapping[str, Placed]) -> Packed:
    """Return the integers of a network with wider layers that computes the same: zeros everywhere else.

    Args:
        packed: As ``pack`` returns it.
        placements: Layer name to a Placed, as ``ehap.pruning.placements`` returns them.
    """
    wide = {name: tensor for name, tensor in packed.items() if name.startswith("activations.")}
    for layer, place in placements.items():
        rows = torch.tensor(place.rows)
        weight = packed[f"{layer}.weight"]
        whole = weight.new_zeros(*place.size, *weight.shape[2:])
        whole[rows[:, None], torch.tensor(place.columns)] = weight
        scale = packed[f"{layer}.weight_scale"]
        scales = scale.new_full((place.size[0],), scale.max().item())
        bias = packed[f"{layer}.bias"].new_zeros(place.size[0])
        scales[rows], bias[rows] = scale, packed[f"{layer}.bias"]
        wide |= {f"{layer}.weight": whole, f"{layer}.weight_scale": scales, f"{layer}.bias": bias}
    return wide


def to_onnx(network: SimulatedNetwork, input_shape: tuple[int, int, int], example: Tensor | None = None) -> bytes:
    """Return a network as ONNX, its integers between QuantizeLinear and DequantizeLinear, biases in int32.

    ONNX Runtime executes it once, to show that it answers the same.

    Args:
        network: What ``unpack`` has returned, on the CPU, without unions: of an expanded network. It is used up.
        input_shape: (C, H, W) of one image.
        example: Normalised images (N, C, H, W) to show it with; random ones where left out.

    Raises:
        ArchitectureError: A layer's bias does not lie on its int32 grid, or activations have other than 8 bits.
        MismatchError: ONNX Runtime gives other outputs.
    """
    images = spread_images(network, input_shape) if example is None else example
    with torch.no_grad():
        wanted = network.eval()(images)
    model = exported(converted(network), input_shape)
    _biases_as_integers_(model)
    _own_zero_points_(model)
    _strip_(model)
    onnx.checker.check_model(model)
    content = bytes(model.SerializeToString())
    check_engine(OnnxNetwork(content)(images), wanted, "the ONNX file and the simulated network", _ADVICE)
    return content


def floats_to_onnx(network: nn.Module, input_shape: tuple[int, int, int], stands_for: nn.Module | None = None) -> bytes:
    """Return a network in floating point as ONNX, which ONNX Runtime executes once, to show that it answers the same.

    Args:
        network: What is written, e.g. with its BatchNorm folded; on the CPU, in eval mode.
        stands_for: What it computes, e.g. before folding; ``network`` itself where left out.
        input_shape: (C, H, W) of one image.

    Raises:
        MismatchError: ONNX Runtime gives other outputs.
    """
    content = bytes(exported(network, input_shape).SerializeToString())
    images = example_images(network, input_shape)
    with evaluating(stands_for or network) as original, torch.no_grad():
        wanted = output_of(original, images)
    check_agreement(OnnxNetwork(content)(images), wanted, FLOAT, "the ONNX file and the network", _ADVICE)
    return content


def exported(network: nn.Module, input_shape: tuple[int, int, int]) -> onnx.ModelProto:
    """Return a network on the CPU as an ONNX model for batches of any size."""
    batch = torch.export.Dim("batch", min=1, max=65536)
    with warnings.catch_warnings(), precision_context("fp32", torch.device("cpu")):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (torch.zeros(2, *input_shape, dtype=torch.float32),),
            dynamo=True,
            dynamic_shapes=({0: batch},),
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    return model


class OnnxNetwork(nn.Module):
    """A network that ONNX Runtime executes on the CPU; called with images, it returns logits.

    Args:
        content: Of an ONNX file.
        threads: Of one call.
        option: Whether ``exact_sums.OPTION`` is set; None: where sums need it.

    Raises:
        CheckpointError: It is no ONNX file.
        DeviceError: ONNX Runtime's sums are wrong here, with the option and without.
    """

    def __init__(self, content: bytes, threads: int = 1, option: bool | None = None) -> None:
        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = _session(content, options, option)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images (N, C, H, W) to logits (N, classes)."""
        try:
            found = self._session.run([OUTPUT], {INPUT: images.detach().cpu().numpy()})[0]
        except Exception as error:  # it raises classes of its own, which it does not export
            raise DataError(
                f"the ONNX file cannot take images {tuple(images.shape[1:])} of {images.dtype} "
                f"({(str(error).strip().splitlines() or [''])[0][:160]}); give float32 images of its shape."
            ) from None
        return torch.from_numpy(found).to(images.device)


def audit(content: bytes) -> dict[str, int]:
    """Return how often each operator stands in the graph as ONNX Runtime executes it here.

    Raises:
        CheckpointError: It is no ONNX file.
        WriteError: There is no room for it in the folder for temporary files.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "executed.onnx"
        with writing(path):  # ONNX Runtime does not say that there is no room for it
            path.write_bytes(content)
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 3  # that the file suits this machine only is what is wanted
        _session(content, options)
        nodes = onnx.load(path).graph.node
    return dict(Counter(node.op_type for node in nodes))


def left_in_float(operators: Mapping[str, int]) -> dict[str, int]:
    """Return the operators of an audit that compute in floating point, or are not known not to.

    One QuantizeLinear and one DequantizeLinear are the network's input and output; more of them are a way through
    floating point in its midst.
    """
    allowed = {"QuantizeLinear": 1, "DequantizeLinear": 1}
    return {
        name: count
        for name, count in operators.items()
        if name not in (*INTEGER, *MOVING) and count > allowed.get(name, 0)
    }


def check_declared(in_float: Mapping[str, int], declared: Sequence[str]) -> None:
    """Raise ArchitectureError unless the operators that stay in floating point are those declared to.

    Args:
        in_float: As ``left_in_float`` returns them.
        declared: Their names.
    """
    undeclared = {name: count for name, count in in_float.items() if name not in declared}
    if undeclared:
        raise ArchitectureError(
            f"expected integer kernels throughout, but these stay in floating point: {undeclared}; where that is "
            f"meant, say deploy.float_operators: [{', '.join(sorted({*declared, *undeclared}))}]."
        )
    absent = [name for name in declared if name not in in_float]
    if absent:
        raise ArchitectureError(
            f"deploy.float_operators: expected operators that stay in floating point, got {', '.join(absent)}, of "
            "which there is none; take it out."
        )


def in_integers(operators: Mapping[str, int]) -> int:
    """Return how many operators of an audit compute in integers."""
    return sum(count for name, count in operators.items() if name in INTEGER)


def _session(
    content: bytes, options: onnxruntime.SessionOptions, option: bool | None = None
) -> onnxruntime.InferenceSession:
    set_option_(options, option)
    options.add_session_config_entry(REST_AFTER_CALLS, "1")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # it raises classes of its own, which it does not export
        raise CheckpointError(f"expected an ONNX file that ONNX Runtime can execute ({error}).") from None


def _biases_as_integers_(model: onnx.ModelProto) -> None:
    """Turn the bias of every layer into int32 at the scale of its input and weight, as integer kernels add it."""
    makers = {name: node for node in model.graph.node for name in node.output}
    values = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    for node in list(model.graph.node):
        if node.op_type not in ("Conv", "Gemm") or len(node.input) < 3:  # noqa: PLR2004
            continue
        source, weight = (_dequantized(makers, name) for name in node.input[:2])
        step = values[source.input[1]].astype(numpy.float64) * values[weight.input[1]].astype(numpy.float64)
        bias = values[node.input[2]].astype(numpy.float64)
        integers = numpy.rint(bias / step)
        # A bias in float32 is off by up to 2⁻²⁴ of itself, its step by as much again.
        if (numpy.abs(integers - bias / step) > 1e-2 + numpy.abs(integers) * 2**-22).any():
            raise ArchitectureError(f"{node.name}: expected a bias on the int32 grid of its layer; unpack gives one.")
        names = [f"{node.input[2]}_{what}" for what in ("quantized", "scale", "zero_point", "dequantized")]
        parts = (integers.astype(numpy.int32), step.astype(numpy.float32), numpy.zeros(len(step), numpy.int32))
        for name, part in zip(names, parts, strict=False):
            model.graph.initializer.append(numpy_helper.from_array(part, name))
        made = helper.make_node("DequantizeLinear", names[:3], names[3:], f"{names[3]}_node", axis=0)
        model.graph.node.insert(list(model.graph.node).index(node), made)
        node.input[2] = names[3]
    _remove_unused_(model)


def _own_zero_points_(model: onnx.ModelProto) -> None:
    """Give every weight zero points of its own: ``exact_sums.OPTION`` converts them one by one."""
    values = {item.name: item for item in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in values:
            own = onnx.TensorProto()
            own.CopyFrom(values[node.input[2]])
            own.name = f"{node.input[0]}_zero_point"
            model.graph.initializer.append(own)
            node.input[2] = own.name
    _remove_unused_(model)


def _remove_unused_(model: onnx.ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input}
    for item in list(model.graph.initializer):
        if item.name not in used:
            model.graph.initializer.remove(item)


def _dequantized(makers: Mapping[str, onnx.NodeProto], name: str) -> onnx.NodeProto:
    """Return the DequantizeLinear that a layer's input comes from, through what only moves values."""
    node = makers[name]
    while node.op_type in MOVING:
        node = makers[node.input[0]]
    if node.op_type != "DequantizeLinear":
        raise ArchitectureError(f"{name}: expected quantized inputs of every layer, got those of {node.op_type}.")
    return node


def _strip_(model: onnx.ModelProto) -> None:
    """Remove what the exporter notes about where things came from: more than half of a small file."""
    parts: Sequence[Any] = [model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.value_info]
    for part in (*parts, *model.graph.input, *model.graph.output):
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]
        if isinstance(part, (onnx.NodeProto, onnx.TensorProto)):
            part.doc_string = ""
    del model.graph.value_info[:]
