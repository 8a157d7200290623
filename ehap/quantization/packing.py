"""Pack a simulated network into integers and scales, and unpack these."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from ehap.errors import CheckpointError, DataError, NumericsError
from ehap.quantization.affine import dequantize, quantize
from ehap.quantization.layers import called_layers
from ehap.quantization.live_norms import folded, norm_of
from ehap.quantization.preparation import simulate_shape
from ehap.quantization.pt2e import FakeQuantize
from ehap.quantization.quantizer import EPSILON
from ehap.quantization.simulation import SimulatedNetwork
from ehap.settings import Scheme

BIAS_LIMIT = 2**30
"""Engines add bias and products in 32 bits; the other half of the range holds 8-bit products of 33,000 inputs."""
Packed = dict[str, Tensor]


@dataclass(frozen=True)
class _Layer:
    """A convolution or linear layer of a simulated network.

    weight, bias: Their nodes in the graph; these may compute them from parameters (folding).
    quantizer: Quantizer of the weight. input_scale: One element, float64. norm: BatchNorm behind it, not folded yet.
    """

    name: str
    weight: fx.Node
    bias: fx.Node | None
    quantizer: FakeQuantize
    input_scale: Tensor
    norm: nn.BatchNorm2d | None


@torch.no_grad()
def pack(network: SimulatedNetwork, model: nn.Module) -> Packed:
    """Return a trained simulated network as integers.

    Args:
        network: Result of ``prepare_qat(model, …)``, after training. It is left in eval mode.
        model: The floating-point network, for the names of its layers.

    Returns:
        For each layer: ``<layer>.weight`` int8 of the weight's shape, ``<layer>.weight_scale`` float32 (C_out,) and
        ``<layer>.bias`` int32 (C_out,) at scale S_w·S_x. ``activations.scale`` float32 (A,) and
        ``activations.zero_point`` uint8 (A,) hold all activation quantizers in forward order.

    Raises:
        DataError: Activations have no ranges: the network has seen no images in train mode.
        NumericsError: A weight is NaN or infinite, with BatchNorm folded.
    """
    network.eval()
    activations = network.activation_quantizers()
    if not all(item.activation_post_process.min_val.isfinite().all() for item in activations):
        raise DataError(
            "no activation ranges yet: the network has seen no images in train mode; train it, or call calibrate_ with "
            "some images, before pack."
        )
    packed: Packed = {
        "activations.scale": torch.cat([item.scale for item in activations]).float(),
        "activations.zero_point": torch.cat([item.zero_point for item in activations]).to(torch.uint8),
    }
    values = _constants(network.graph_module)
    for layer in _layers(network, model):
        weight, bias = values[layer.weight], None if layer.bias is None else values[layer.bias]
        if layer.norm is not None:
            weight, bias = folded(weight, bias, layer.norm)
        if not all(part is None or part.isfinite().all() for part in (weight, bias)):
            raise NumericsError(
                f"{layer.name}: expected finite weights to pack, got NaN or Inf; lower the learning rate."
            )
        largest = float(weight.abs().max())
        if 0 < largest < layer.quantizer.activation_post_process.quant_max * EPSILON:
            raise NumericsError(
                f"{layer.name}: its weights, BatchNorm folded in, are at most {largest:.1e}, too small for the "
                f"smallest scale, {EPSILON:.1e}; scale them up and the inputs of the layer down."
            )
        layer.quantizer(weight)  # updates its range, which belongs to the weights before the last step
        limit = layer.quantizer.activation_post_process.quant_max
        bias = torch.zeros_like(layer.quantizer.scale) if bias is None else bias
        # Weights near zero would give a scale too fine for the bias of their channel.
        coarsest = (bias.double().abs() / (layer.input_scale * BIAS_LIMIT)).float()
        scale = torch.maximum(layer.quantizer.scale.float(), coarsest * (1 + 2**-20))
        step = scale.double() * layer.input_scale
        packed[f"{layer.name}.weight"] = quantize(weight, _over_rows(scale, weight), 0, -limit, limit).to(torch.int8)
        packed[f"{layer.name}.weight_scale"] = scale
        packed[f"{layer.name}.bias"] = quantize(bias.double(), step, 0, -BIAS_LIMIT, BIAS_LIMIT).int()
    return {name: tensor.cpu() for name, tensor in packed.items()}


@torch.no_grad()
def unpack(
    packed: Mapping[str, Tensor],
    model: nn.Module,
    scheme: Scheme,
    input_shape: tuple[int, int, int],
    layer_bits: Mapping[str, int] | None = None,
) -> SimulatedNetwork:
    """Return the simulated network of packed integers, in eval mode.

    Packing it again gives the same integers and scales.

    Args:
        packed: Result of ``pack``.
        model: A network of the packed one's architecture, on the wanted device; its weights do not matter.
        scheme: The scheme of the packed network.
        input_shape: (C, H, W) of one image.
        layer_bits: See ``prepare_qat``.

    Raises:
        CheckpointError: A tensor is missing or has another shape or range: the file belongs to another network.
    """
    network = simulate_shape(model, scheme, input_shape, layer_bits)
    network.eval()
    graph = network.graph_module
    activations = network.activation_quantizers()
    scales, zeros = (_expected(packed, f"activations.{name}", (len(activations),)) for name in ("scale", "zero_point"))
    for quantizer, scale, zero in zip(activations, scales, zeros.long(), strict=True):
        quantizer.scale.fill_(scale)
        quantizer.zero_point.fill_(zero)
        observer = quantizer.activation_post_process
        if not observer.fits(int(zero)):
            raise CheckpointError(
                f"the integers have other bits: expected activations of 0 to {observer.quant_max}, got the zero "
                f"point {int(zero)}; give the scheme that they were packed with."
            )
        observer.min_val.fill_((observer.quant_min - zero) * scale)
        observer.max_val.fill_((observer.quant_max - zero) * scale)
        observer.settle()
    for layer in _layers(network, model):
        weight = graph.get_parameter(str(layer.weight.target))
        integers = _expected(packed, f"{layer.name}.weight", tuple(weight.shape)).to(weight.device)
        scale = _expected(packed, f"{layer.name}.weight_scale", (len(weight),)).to(weight.device)
        limit = layer.quantizer.activation_post_process.quant_max
        if int(integers.abs().max()) > limit:
            raise CheckpointError(
                f"{layer.name}: the integers have other bits: expected at most {limit}, got "
                f"{int(integers.abs().max())}; give the scheme that they were packed with."
            )
        weight.copy_(dequantize(integers, _over_rows(scale, weight)))
        if layer.bias is not None:
            bias = _expected(packed, f"{layer.name}.bias", (len(weight),)).to(weight.device)
            graph.get_parameter(str(layer.bias.target)).copy_(bias * (scale.double() * layer.input_scale))
        layer.quantizer(weight)  # shapes its buffers
        layer.quantizer.disable_observer()
        layer.quantizer.scale.copy_(scale)
    return network


def _layers(network: SimulatedNetwork, model: nn.Module) -> Iterator[_Layer]:
    """Yield the layers in forward order, named after the modules of ``model``."""
    graph, names, nodes = network.graph_module, called_layers(model), network.weighted_nodes()
    if len(names) != len(nodes):
        raise CheckpointError(
            f"the simulated network has {len(nodes)} layers, but the model has {len(names)}; give the model that "
            "prepare_qat was given."
        )
    for name, node in zip(names, nodes, strict=True):
        source, fake_quantize, *rest = node.args
        assert isinstance(source, fx.Node)
        assert isinstance(fake_quantize, fx.Node)
        bias = rest[0] if rest and isinstance(rest[0], fx.Node) else None
        weight = fake_quantize.all_input_nodes[0]
        quantizer, scale = graph.get_submodule(str(fake_quantize.target)), _input_scale(graph, source)
        reader = next(iter(node.users), None)  # None where nothing uses the result
        norm = None if reader is None else norm_of(graph, reader)
        yield _Layer(name, weight, bias, quantizer, scale, norm)


def _constants(graph: fx.GraphModule) -> dict[fx.Node, Tensor]:
    """Return the values of all nodes that depend on parameters and buffers only."""
    interpreter = fx.Interpreter(graph)
    values: dict[fx.Node, Tensor] = {}
    for node in graph.graph.nodes:
        constant = node.op == "get_attr" or (node.op == "call_function" and bool(node.all_input_nodes))
        if constant and all(source in values for source in node.all_input_nodes):
            values[node] = interpreter.env[node] = interpreter.run_node(node)
    return values


def _input_scale(graph: fx.GraphModule, node: fx.Node) -> Tensor:
    """Return the scale of the activation quantizer before a layer: one element, float64."""
    while node.op != "call_module":  # through flatten and the like
        node = node.all_input_nodes[0]
    scale: Tensor = graph.get_buffer(f"{node.target}.scale")
    return scale.double()


def _over_rows(scale: Tensor, weight: Tensor) -> Tensor:
    """Return the scales of rows in shape (C_out, 1, …), to broadcast against the weight."""
    return scale.view(-1, *[1] * (weight.dim() - 1))


def _expected(packed: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    if name not in packed or tuple(packed[name].shape) != shape:
        found = tuple(packed[name].shape) if name in packed else "none"
        raise CheckpointError(
            f"the quantized file belongs to another network: expected {name} of shape {shape}, got {found}."
        )
    return packed[name]
