"""Write a graph of torch's operations as ONNX directly, where all of its operations are among the few known here.

torch's exporter takes seconds for any network, since it decomposes and optimises the graph; this takes milliseconds.
An unknown operation, or an unknown option of one, is left to torch's exporter.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, fx

from ehap.errors import ArchitectureError

IMAGE_AXES = 2
UNSIGNED, PER_CHANNEL = (0, 255), (-127, 127)
"""Ranges of quantized activations and weights."""
Written = Iterator[onnx.NodeProto]


class UnknownOperationError(ArchitectureError):
    """A graph has an operation that only torch's exporter knows."""


def written(graph: fx.GraphModule, shape: tuple[int, int, int], names: tuple[str, str], opset: int) -> onnx.ModelProto:
    """Return a graph of torch's operations as an ONNX model, for batches of any size.

    Args:
        graph: Of operations of ``torch.ops.aten`` and ``torch.ops.quantized_decomposed``, in eval mode.
        shape: (C, H, W) of one image.
        names: Of the input and of the output.
        opset: Version of ONNX's operators; at least 13.

    Raises:
        UnknownOperationError: It has an operation, or an option of one, that is not known here.
    """
    writer = _Writer(graph, names)
    nodes = [node for each in graph.graph.nodes for node in writer.write(each)]
    used = {name for node in nodes for name in node.input}
    constants = [constant for name, constant in writer.constants.items() if name in used]
    takes = helper.make_tensor_value_info(names[0], TensorProto.FLOAT, ["batch", *shape])
    gives = helper.make_tensor_value_info(names[1], TensorProto.FLOAT, None)
    made = helper.make_graph(nodes, "network", [takes], [gives], constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], producer_name="ehap")
    model.ir_version = 10  # of opset 21; older readers need not know a newer one
    return onnx.shape_inference.infer_shapes(model)


class _Writer:
    """The names of values and the constants of one graph."""

    def __init__(self, graph: fx.GraphModule, names: tuple[str, str]) -> None:
        self.graph = graph
        self.input, self.output = names
        self.last = _last(graph.graph)
        self.names: dict[fx.Node, str] = {}
        self.constants: dict[str, TensorProto] = {}
        self.made_before: dict[tuple[str, tuple[str, ...]], str] = {}
        self.known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def write(self, node: fx.Node) -> Written:
        """Yield the operators of one node; a node without users, such as a guard of the input, gives none."""
        if not node.users and not _in_place(node):
            return
        if node.op == "placeholder":
            if self.input in self.names.values():
                raise UnknownOperationError("it has several inputs.")
            self.names[node] = self.input
        elif node.op == "get_attr":
            self.names[node] = self.constant(_attribute(self.graph, str(node.target)), str(node.target))
        elif node.op == "call_function" and node.target in OPERATIONS:
            self.names[node] = self.output if node is self.last else node.name
            yield from OPERATIONS[node.target](self, node, **_options(node))
        else:
            raise UnknownOperationError(f"{node.name}: {node.target} is not known here.")

    def constant(self, value: Tensor | numpy.ndarray, name: str = "") -> str:
        """Return the name of a constant, which the model holds; equal ones without a name of their own share one."""
        array = numpy.asarray(value.detach().cpu().numpy() if isinstance(value, Tensor) else value, order="C")
        content = (array.dtype.str, array.shape, array.tobytes())
        name = name or self.known.setdefault(content, f"constant_{len(self.known)}")
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(array, name)
        return name

    def of(self, node: fx.Node) -> str:
        return self.names[node]

    def made(self, kind: str, node: fx.Node, *inputs: str, **attributes: Any) -> onnx.NodeProto:
        """Return an operator that gives the value of a node."""
        return helper.make_node(kind, list(inputs), [self.names[node]], node.name, **attributes)


def _last(graph: fx.Graph) -> fx.Node:
    """Return the node that gives the output."""
    found = next(iter(reversed(graph.nodes))).args[0]
    one = found[0] if isinstance(found, list | tuple) and len(found) == 1 else found
    if not isinstance(one, fx.Node) or one.op != "call_function":
        raise UnknownOperationError("its output is none of an operation's, or there are several.")
    return one


def _attribute(module: Any, path: str) -> Tensor:
    for name in path.split("."):
        module = getattr(module, name)
    if not isinstance(module, Tensor):
        raise UnknownOperationError(f"{path} is no tensor.")
    return module


def _options(node: fx.Node) -> dict[str, Any]:
    """Return the arguments of a call by the names in the operation's schema, defaults included."""
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    found = {item.name: item.default_value for item in schema if item.has_default_value()}
    found |= dict(zip((item.name for item in schema), node.args, strict=False))
    return {("x" if name in ("self", "input") else name): value for name, value in (found | node.kwargs).items()}


def _need(true: bool, node: fx.Node, what: str) -> None:
    if not true:
        raise UnknownOperationError(f"{node.name}: {node.target} with {what} is not known here.")


def _pair(value: Any) -> list[int]:
    found = [value] * IMAGE_AXES if isinstance(value, int) else list(value)
    return found * IMAGE_AXES if len(found) == 1 else found


def _conv(writer: _Writer, node: fx.Node, x: fx.Node, weight: fx.Node, bias: fx.Node | None, **options: Any) -> Written:
    padding = options["padding"]
    _need(not isinstance(padding, str), node, "a padding by name")
    inputs = [writer.of(each) for each in (x, weight, bias) if each is not None]
    yield writer.made(
        "Conv",
        node,
        *inputs,
        strides=_pair(options["stride"]),
        pads=_pair(padding) * 2,
        dilations=_pair(options["dilation"]),
        group=options["groups"],
    )


def _linear(writer: _Writer, node: fx.Node, x: fx.Node, weight: fx.Node, bias: fx.Node | None) -> Written:
    _need("val" not in x.meta or x.meta["val"].ndim == IMAGE_AXES, node, "more than two axes")
    inputs = [writer.of(each) for each in (x, weight, bias) if each is not None]
    yield writer.made("Gemm", node, *inputs, transB=1)


def _norm(writer: _Writer, node: fx.Node, x: fx.Node, **options: Any) -> Written:
    _need(not options.get("training", False), node, "statistics of the batch")
    names = ("weight", "bias", "running_mean", "running_var")
    _need(all(isinstance(options[name], fx.Node) for name in names), node, "a part left out")
    inputs = [writer.of(options[name]) for name in names]
    yield writer.made("BatchNormalization", node, writer.of(x), *inputs, epsilon=options["eps"])


def _alone(node: fx.Node, x: fx.Node) -> None:
    """Refuse an operation that changes its input where another one reads the input, too."""
    _need(not _in_place(node) or len(x.users) == 1, node, "an input that others read")


def _in_place(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.name.endswith("_")


def _relu(writer: _Writer, node: fx.Node, x: fx.Node) -> Written:
    _alone(node, x)
    yield writer.made("Relu", node, writer.of(x))


def _clip(writer: _Writer, node: fx.Node, x: fx.Node, min_val: float, max_val: float) -> Written:
    _alone(node, x)
    ends = [writer.constant(numpy.array(value, numpy.float32)) for value in (min_val, max_val)]
    yield writer.made("Clip", node, writer.of(x), *ends)


def _relu6(writer: _Writer, node: fx.Node, x: fx.Node) -> Written:
    yield from _clip(writer, node, x, 0.0, 6.0)


def _add(writer: _Writer, node: fx.Node, x: fx.Node, other: Any, alpha: float) -> Written:
    _need(isinstance(other, fx.Node) and alpha == 1, node, "a number")
    _alone(node, x)
    yield writer.made("Add", node, writer.of(x), writer.of(other))


def _same(writer: _Writer, node: fx.Node, x: fx.Node, **options: Any) -> Written:
    _need(not options.get("train", False), node, "training")
    yield writer.made("Identity", node, writer.of(x))


def _pool_options(node: fx.Node, kernel_size: Any, stride: Any, padding: Any) -> dict[str, Any]:
    _need("val" not in node.meta or node.meta["val"].ndim == 2 + IMAGE_AXES, node, "other than four axes")
    return {"kernel_shape": _pair(kernel_size), "strides": _pair(stride or kernel_size), "pads": _pair(padding) * 2}


def _average(writer: _Writer, node: fx.Node, x: fx.Node, kernel_size: Any, **options: Any) -> Written:
    _need(not options["ceil_mode"] and options["divisor_override"] is None, node, "such options")
    padded = int(options["count_include_pad"])
    shape = _pool_options(node, kernel_size, options["stride"], options["padding"])
    yield writer.made("AveragePool", node, writer.of(x), count_include_pad=padded, **shape)


def _maximum(writer: _Writer, node: fx.Node, x: fx.Node, kernel_size: Any, **options: Any) -> Written:
    _need(not options["ceil_mode"], node, "ceil_mode")
    shape = _pool_options(node, kernel_size, options["stride"], options["padding"])
    yield writer.made("MaxPool", node, writer.of(x), dilations=_pair(options["dilation"]), **shape)


def _whole(writer: _Writer, node: fx.Node, x: fx.Node, output_size: Any) -> Written:
    _need(_pair(output_size) == [1, 1], node, "more than one output")
    yield writer.made("GlobalAveragePool", node, writer.of(x))


def _flatten(writer: _Writer, node: fx.Node, x: fx.Node, start_dim: int, end_dim: int) -> Written:
    _need(start_dim == 1 and end_dim == -1, node, "other axes")
    # ONNX Runtime carries integers through a Reshape, not through a Flatten.
    yield writer.made("Reshape", node, writer.of(x), writer.constant(numpy.array([0, -1])))


def _scale(writer: _Writer, scale: Any, zero_point: Any, kind: type[numpy.generic]) -> list[str]:
    """Return the names of a scale and a zero point, given as numbers or as nodes."""
    scales = _value(writer, scale).astype(numpy.float32)
    return [writer.constant(scales), writer.constant(_value(writer, zero_point).astype(kind))]


def _value(writer: _Writer, given: Any) -> numpy.ndarray:
    if isinstance(given, fx.Node):
        found: numpy.ndarray = numpy_helper.to_array(writer.constants[writer.of(given)])
        return found
    return numpy.array(given)


def _quantize(kind: str) -> Callable[..., Written]:
    """Return the writer of QuantizeLinear or DequantizeLinear for whole tensors."""

    def write(writer: _Writer, node: fx.Node, x: fx.Node, scale: Any, zero_point: Any, **options: Any) -> Written:
        _need((options["quant_min"], options["quant_max"]) == UNSIGNED, node, "such a range")
        _need(options["dtype"] == torch.uint8 and options.get("out_dtype") is None, node, "such a type")
        inputs = (writer.of(x), *_scale(writer, scale, zero_point, numpy.uint8))
        if (kind, inputs) in writer.made_before:  # torchao gives each reader a DequantizeLinear of its own
            writer.names[node] = writer.made_before[kind, inputs]
            return
        writer.made_before[kind, inputs] = writer.of(node)
        yield writer.made(kind, node, *inputs)

    return write


def _weight(
    writer: _Writer, node: fx.Node, x: fx.Node, scales: fx.Node, zero_points: fx.Node, **options: Any
) -> Written:
    lowest, highest = PER_CHANNEL
    _need(lowest <= options["quant_min"] and options["quant_max"] <= highest, node, "such a range")
    _need(options["dtype"] == torch.int8 and options.get("out_dtype") is None, node, "such a type")
    parts = _scale(writer, scales, zero_points, numpy.int8)
    yield writer.made("DequantizeLinear", node, writer.of(x), *parts, axis=options["axis"])


def _operations() -> dict[Any, Callable[..., Written]]:
    aten, quantized = torch.ops.aten, torch.ops.quantized_decomposed
    return {
        aten.conv2d.default: _conv,
        aten.linear.default: _linear,
        aten.batch_norm.default: _norm,
        aten.relu.default: _relu,
        aten.relu_.default: _relu,
        aten.relu6.default: _relu6,
        aten.relu6_.default: _relu6,
        aten.hardtanh.default: _clip,
        aten.hardtanh_.default: _clip,
        aten.add.Tensor: _add,
        aten.add_.Tensor: _add,
        aten.dropout.default: _same,
        aten.avg_pool2d.default: _average,
        aten.max_pool2d.default: _maximum,
        aten.adaptive_avg_pool2d.default: _whole,
        aten.flatten.using_ints: _flatten,
        quantized.quantize_per_tensor.default: _quantize("QuantizeLinear"),
        quantized.dequantize_per_tensor.default: _quantize("DequantizeLinear"),
        quantized.dequantize_per_channel.default: _weight,
    }


OPERATIONS = _operations()
