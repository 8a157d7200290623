"""A network that rounds as an integer engine does, for training and for evaluation."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, fx, nn

from ehap.errors import DataError
from ehap.graph import Agreement
from ehap.quantization.pt2e import FakeQuantize
from ehap.runtime.device import precision_context
from ehap.settings import Scheme

_NO_RANGES = (
    "no activation ranges yet: before eval, train, call calibrate_, or give images in train mode under torch.no_grad."
)


class SimulatedNetwork(nn.Module):
    """A network with fake quantization of weights and activations; gradients pass rounding unchanged.

    In train mode, activation ranges follow the data, and so do BatchNorm statistics that are not frozen. In eval mode,
    both are fixed. Weight ranges always belong to the present weights.

    Ranges follow the data in one of two ways:

    - With gradients, the network is trained: ranges are running means of the batches' ranges. The n-th batch has the
      share max(1/n, 1 - range_momentum), so early batches count alike.
    - Under torch.no_grad(), the network is calibrated: ranges reach from the smallest to the largest value of all
      batches. They do not depend on the size and order of batches. Activations are not rounded. BatchNorm keeps its
      statistics, unless it collects them again (momentum None, as in torch.optim.swa_utils.update_bn). A later
      training moves the ranges by the momentum alone.

    original: A copy of the network in floating point that it was prepared from. It is no submodule: it has no part in
        parameters(), and stays on its device.
    scheme: Its scheme. input_shape: (C, H, W) of one image.
    layer_bits: Layer name to bits of its weights; None where all have those of the scheme.
    reading: Agreement with the original network before rounding; None where it was not checked.
    """

    original: nn.Module
    reading: Agreement | None = None
    _ready = False

    def __init__(
        self,
        graph: fx.GraphModule,
        original: nn.Module,
        scheme: Scheme,
        input_shape: tuple[int, int, int],
        layer_bits: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.graph_module = graph
        object.__setattr__(self, "original", original)  # nn.Module would register it
        self.scheme, self.input_shape = scheme, input_shape
        self.layer_bits = None if layer_bits is None else dict(layer_bits)
        self.train()

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images (N, C, H, W) to logits (N, classes)."""
        if not self.training and not self.ready():
            raise DataError(_NO_RANGES)
        calibrated = self.training and not torch.is_grad_enabled() and not self._recalibrated()
        with self._calibrating() if calibrated else nullcontext(), precision_context("fp32", x.device):
            logits: Tensor = self.graph_module(x)
        return logits

    def ready(self) -> bool:
        """Return whether every rounded activation has a range, or observes one."""
        if not self._ready:
            still = (each for each in self.activation_quantizers() if not bool(each.observer_enabled))
            rounding = [each for each in still if bool(each.fake_quant_enabled)]
            found = all(bool(each.activation_post_process.min_val.isfinite().all()) for each in rounding)
            self._ready = found and bool(rounding)
            return found
        return True

    def _recalibrated(self) -> bool:
        """Return whether BatchNorm collects statistics as plain means, as torch's update_bn sets it."""
        norms = (module for module in self.graph_module.modules() if isinstance(module, nn.BatchNorm2d))
        return any(norm.momentum is None for norm in norms)

    def train(self, mode: bool = True) -> "SimulatedNetwork":
        """Set the mode of activation ranges and of BatchNorm; nothing else in an exported graph has a mode."""
        self.training = mode
        self.observe(mode)
        self._train_norms(mode)
        return self

    def observe(self, mode: bool) -> None:
        """Let the activation ranges follow the data, or freeze them; nothing else changes."""
        for quantizer in self.activation_quantizers():
            quantizer.enable_observer(mode)

    @contextmanager
    def _calibrating(self) -> Iterator[None]:
        """Widen the ranges; each is independent of other ranges and of the batch's statistics."""
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
