"""A network whose forward pass rounds as an integer engine would, for training and for evaluation."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, fx, nn
from torchao.quantization.pt2e import FakeQuantize
from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e

from ehap.errors import ArchitectureError, DataError, MismatchError, NumericsError
from ehap.graph import Agreement, check_reading, evaluating, example_images, output_of
from ehap.graph.folding import FoldedConv, fold_norms, keep_norms
from ehap.graph.reading import check_twin
from ehap.graph.tracing import check_readable, traced
from ehap.quantization.canonical import canonical_
from ehap.quantization.live_norms import norms_as_modules_
from ehap.quantization.quantizer import HawqQuantizer
from ehap.runtime.device import precision_context
from ehap.settings import Qat
from ehap.settings.qat import FLOAT

_NO_RANGES = (
    "no activation ranges yet: give images in train mode under torch.no_grad, or to calibrate_, or train, before eval."
)


class SimulatedNetwork(nn.Module):
    """A network with fake quantization of weights and activations; rounding passes gradients straight through.

    In train mode the activation ranges follow the data, and so do BatchNorm statistics where they are not frozen; in
    eval mode both stand still. Weight ranges always belong to the present weights.

    Ranges follow the data in one of two ways. Where gradients are computed, the network is trained: ranges are running
    means of the batches' ranges. The n-th batch has the share max(1/n, 1 - range_momentum), the first ones alike.
    Under torch.no_grad() the network is calibrated: ranges reach from the smallest to the largest value of all batches,
    and come out the same for batches of any size and in any order. Activations are not rounded then, and BatchNorm
    keeps its statistics, unless it is to collect them anew (momentum None, as in torch.optim.swa_utils.update_bn). A
    training after it moves the ranges by the momentum alone.

    reading: How well it agreed with the network that it simulates, before anything was rounded; None where that was
    not looked at.
    """

    reading: Agreement | None = None
    _ready = False

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__()
        self.graph_module = graph
        self.train()

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images (N, 3, H, W) to logits (N, classes)."""
        if not self.training and not self.ready():
            raise DataError(_NO_RANGES)
        calibrated = self.training and not torch.is_grad_enabled() and not self._recalibrated()
        with self._calibrating() if calibrated else nullcontext(), precision_context("fp32", x.device):
            logits: Tensor = self.graph_module(x)
        return logits

    def ready(self) -> bool:
        """Return whether every activation that is rounded has a range, or looks for one."""
        if not self._ready:
            still = (each for each in self.activation_quantizers() if not bool(each.observer_enabled))
            rounding = [each for each in still if bool(each.fake_quant_enabled)]
            found = all(bool(each.activation_post_process.min_val.isfinite().all()) for each in rounding)
            self._ready = found and bool(rounding)
            return found
        return True

    def _recalibrated(self) -> bool:
        """Return whether BatchNorm is collecting statistics, as torch's update_bn lets it: as plain means."""
        norms = (module for module in self.graph_module.modules() if isinstance(module, nn.BatchNorm2d))
        return any(norm.momentum is None for norm in norms)

    def train(self, mode: bool = True) -> "SimulatedNetwork":
        """Set the mode of activation ranges and of BatchNorm; an exported graph has no other modes."""
        self.training = mode
        self.observe(mode)
        self._train_norms(mode)
        return self

    def observe(self, mode: bool) -> None:
        """Let the activation ranges follow the data, or freeze them, and nothing else."""
        for quantizer in self.activation_quantizers():
            quantizer.enable_observer(mode)

    @contextmanager
    def _calibrating(self) -> Iterator[None]:
        """Widen the ranges; what a range comes to depends on no other range, nor on the batch's statistics."""
        quantizers = self.activation_quantizers()
        observers = [quantizer.activation_post_process for quantizer in quantizers]
        for quantizer, observer in zip(quantizers, observers, strict=True):
            quantizer.disable_fake_quant()
            observer.widening = True
        self._train_norms(False)
        try:
            yield
        finally:
            for quantizer, observer in zip(quantizers, observers, strict=True):
                quantizer.enable_fake_quant()
                observer.widening = False
            self._train_norms(True)

    def _train_norms(self, mode: bool) -> None:
        for module in self.graph_module.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.train(mode)

    def quantizers(self) -> list[FakeQuantize]:
        """Return all quantizers, of weights and of activations, in forward order."""
        nodes = [node for node in self.graph_module.graph.nodes if node.op == "call_module"]
        modules = [self.graph_module.get_submodule(node.target) for node in nodes]
        return list(dict.fromkeys(item for item in modules if isinstance(item, FakeQuantize)))

    def activation_quantizers(self) -> list[FakeQuantize]:
        """Return the activation quantizers in forward order."""
        return [item for item in self.quantizers() if not item.is_per_channel]

    def weighted_nodes(self) -> list[fx.Node]:
        """Return the convolution and linear nodes in forward order."""
        targets = (torch.ops.aten.conv2d.default, torch.ops.aten.linear.default)
        return [node for node in self.graph_module.graph.nodes if node.target in targets]


def prepare_qat(
    model: nn.Module,
    settings: Qat,
    input_shape: tuple[int, int, int],
    layer_bits: Mapping[str, int] | None = None,
    example: Tensor | None = None,
) -> SimulatedNetwork:
    """Return a copy of ``model`` that simulates integer arithmetic.

    With settings.norms live, BatchNorm stays behind its convolution, of rounded weights; ``pack`` folds it. Before
    anything is rounded, the copy is checked to give the outputs of ``model`` in eval mode on an example.

    Args:
        model: Convolutions (with BatchNorm directly behind them, or none), linear layers, ReLU, adds and pooling.
        settings: Bits, the momentum of the activation ranges, and what becomes of BatchNorm's statistics.
        input_shape: (C, H, W) of one image.
        layer_bits: Layer name to bits of its weights, of every layer; where left out, all have settings.bits.
        example: Normalised images (N, C, H, W) for the check, on the model's device; random ones where left out.

    Raises:
        ArchitectureError: The network cannot be read off, has an operation that the scheme does not cover, or is not in
            float32, or a layer has no bits.
        DataError: The shape is not one of an image, or the network takes no such images.
        MismatchError: What was read off the network computes something else; the first layer that differs is named.
        NumericsError: A weight, a statistic or an output is NaN or infinite.
    """
    if len(input_shape) != 3:  # noqa: PLR2004 (channels, rows, columns)
        raise DataError(f"expected the shape (C, H, W) of one image, got {tuple(input_shape)}.")
    check_readable(model)
    if settings.bits == FLOAT:
        raise ArchitectureError(f"bits {FLOAT} is no quantization: there is nothing to prepare_qat.")
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
        return _simulated(model, settings, input_shape, layer_bits, images)


def simulate_shape(
    model: nn.Module, settings: Qat, input_shape: tuple[int, int, int], layer_bits: Mapping[str, int] | None
) -> SimulatedNetwork:
    """Do what ``prepare_qat`` does for a network whose weights do not matter: they are not looked at."""
    return _simulated(model, settings, input_shape, layer_bits, None)


def _simulated(
    model: nn.Module,
    settings: Qat,
    input_shape: tuple[int, int, int],
    layer_bits: Mapping[str, int] | None,
    example: Tensor | None,
) -> SimulatedNetwork:
    names = called_layers(model)
    if layer_bits is not None and layer_bits.keys() != set(names):
        raise ArchitectureError(f"expected bits for the layers {names}, got some for {sorted(layer_bits)}.")
    widths = None if layer_bits is None else [layer_bits[name] for name in names]
    live = settings.norms == "live"
    whole = keep_norms(model) if live else fold_norms(model)
    exported = _exported(whole, input_shape, type(model).__name__)
    canonical_(exported)
    if live:
        norms_as_modules_(exported, whole)
    network = SimulatedNetwork(prepare_qat_pt2e(exported, HawqQuantizer(settings, widths)))
    _check_layers(names, len(network.weighted_nodes()))
    if example is not None:
        network.reading = _checked_twin(model, network, example)
    return network


def _exported(whole: fx.GraphModule, input_shape: tuple[int, int, int], name: str) -> fx.GraphModule:
    """Return a network as a graph of torch's own operations, for batches of any size.

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
    except Exception as error:  # whatever class torch takes for what it cannot export
        raise ArchitectureError(
            f"{name} cannot be exported ({_first_line(error)}); expected a network of one input, whose operations "
            "depend on no values and on no number of images."
        ) from error
    return graph


def _first_line(error: Exception) -> str:
    """Return the class of an error and the beginning of what it says."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:160]}"


def _checked_twin(model: nn.Module, network: SimulatedNetwork, example: Tensor) -> Agreement:
    """Raise MismatchError unless a new simulated network, rounding nothing, gives what ``model`` does in eval mode."""
    for quantizer in network.quantizers():
        quantizer.disable_fake_quant()
        quantizer.disable_observer()
    network.eval()
    try:
        found = check_twin(model, network, example)
    except MismatchError:
        check_reading(model, example)  # it names the layer, where reading the network off has gone wrong
        raise
    for quantizer in network.quantizers():
        quantizer.enable_fake_quant()
        quantizer.enable_observer()
    network.train()
    return found


def _check_layers(names: list[str], calls: int) -> None:
    """Raise ArchitectureError unless each of the layers is called once, and nothing else convolves."""
    again = sorted({name for name in names if names.count(name) > 1})
    if again:
        raise ArchitectureError(
            f"{', '.join(again)}: expected layers that are called once in a forward pass, got more calls; a layer has "
            "one scale for its inputs: give each call a layer of its own."
        )
    if len(names) != calls:
        raise ArchitectureError(
            f"expected convolutions and linear layers as modules (nn.Conv2d, nn.Linear), got {calls} of them in the "
            f"forward pass, but only the modules {names}; make modules of the functions."
        )


def called_layers(model: nn.Module) -> list[str]:
    """Return the module paths of the calls of convolutions and linear layers, in forward order.

    A layer with two calls appears twice; a layer without a call is left out.

    Raises:
        ArchitectureError: The network cannot be read off.
    """
    modules = dict(model.named_modules())
    paths = [str(node.target) for node in traced(model).graph.nodes if node.op == "call_module"]
    return [path for path in paths if isinstance(modules.get(path), (nn.Conv2d, nn.Linear, FoldedConv))]


def layer_weight(model: nn.Module, name: str) -> Tensor:
    """Return the weight (C_out, ...) of the convolution or linear layer called ``name``."""
    weight = model.get_submodule(name).weight
    assert isinstance(weight, Tensor)
    return weight
