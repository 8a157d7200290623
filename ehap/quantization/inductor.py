"""A quantized network compiled by torch's Inductor for the integer kernels of an x86 CPU."""

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch._inductor.config as inductor_config
from torch import Tensor, fx, nn
from torch._dynamo.utils import counters
from torch._inductor.exc import InductorError

from ehap.errors import ArchitectureError, DeviceError
from ehap.quantization.deployment import converted
from ehap.quantization.simulated import SimulatedNetwork

LOWERED = ("qconv_unary_lower_count", "qconv_binary_lower_count", "qlinear_unary_lower_count")
"""What Inductor counts when it has put a convolution or linear layer on an integer kernel."""


def frozen() -> AbstractContextManager[object]:
    """Let Inductor take weights as constants: only then it packs them for the kernels of this CPU."""
    context: AbstractContextManager[object] = inductor_config.patch(freezing=True)
    return context


class InductorNetwork(nn.Module):
    """A network compiled by Inductor, convolutions and linear layers on integer kernels; for one size of batches.

    Between layers values are stored as 8-bit integers; sums and the pooling read and write these and compute in
    floating point.

    Args:
        network: What ``unpack`` has returned, on the CPU, without unions: of an expanded network. It is used up.
        example: Images (N, C, H, W), N of every later call; another N compiles anew.

    Raises:
        ArchitectureError: A convolution or linear layer is left in floating point.
        DeviceError: Inductor cannot compile here.
    """

    integer_operators: int

    def __init__(self, network: SimulatedNetwork, example: Tensor) -> None:
        super().__init__()
        # Importing it registers the patterns that become integer kernels.
        import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer  # noqa: F401

        layers = len(network.weighted_nodes())
        graph = converted(network)
        assert isinstance(graph, fx.GraphModule)
        _flatten_integers_(graph)
        self._call: Callable[[Tensor], Tensor] = torch.compile(graph, dynamic=False)
        self._compiled = {example.shape}
        counters["inductor"].clear()
        try:
            with frozen(), torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._call(example)
        except InductorError as error:
            first = str(error).strip().splitlines()[0]
            raise DeviceError(
                f"expected a CPU and a C++ compiler that Inductor can use ({first}); install g++, or leave "
                "deploy.inductor false."
            ) from None
        self.integer_operators = sum(counters["inductor"][name] for name in LOWERED)
        if self.integer_operators != layers:
            raise ArchitectureError(
                f"expected {layers} convolutions and linear layers as integer operators in Inductor, got "
                f"{self.integer_operators}; the others would run in floating point on this CPU."
            )

    def train(self, mode: bool = True) -> "InductorNetwork":
        """Do nothing: it has one mode, and an exported graph refuses to be asked for another."""
        del mode
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images (N, C, H, W) to logits (N, classes)."""
        with torch.no_grad(), nullcontext() if images.shape in self._compiled else frozen():
            logits = self._call(images)
        self._compiled.add(images.shape)
        return logits


def _flatten_integers_(graph: fx.GraphModule) -> None:
    """Dequantize behind a flatten instead of before it: so Inductor knows a linear layer as one of integers."""
    for node in list(graph.graph.nodes):
        source = node.args[0] if node.target is torch.ops.aten.flatten.using_ints else None
        if (
            not isinstance(source, fx.Node)
            or not callable(source.target)
            or "dequantize_per_tensor" not in str(source.target)
        ):
            continue
        with graph.graph.inserting_before(node):
            flat = graph.graph.call_function(node.target, (source.args[0], *node.args[1:]))
            opened = graph.graph.call_function(source.target, (flat, *source.args[1:]), source.kwargs)
        node.replace_all_uses_with(opened)
        graph.graph.erase_node(node)
        if not source.users:
            graph.graph.erase_node(source)
    graph.recompile()
