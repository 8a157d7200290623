"""A quantized network compiled by torch's Inductor for the integer kernels of an x86 CPU."""

import math
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
import torch._inductor.config as inductor_config
from torch import Tensor, fx, nn
from torch._dynamo.utils import counters
from torch._inductor.exc import InductorError

from ehap.engines.conversion import converted
from ehap.engines.proof import check_engine
from ehap.errors import ArchitectureError, DeviceError
from ehap.graph import INTEGER, Agreement
from ehap.quantization.pt2e import register_integer_kernels
from ehap.quantization.simulation import SimulatedNetwork
from ehap.runtime.progress import logger

LOWERED = ("qconv_unary_lower_count", "qconv_binary_lower_count", "qlinear_unary_lower_count")
"""What Inductor counts when it has put a convolution or linear layer on an integer kernel."""
WITH_SUM = "qconv_binary_lower_count"
"""Of these, convolutions whose kernel adds the other side of a residual sum as well."""
SHOWN = 16
"""Images of the example that outputs are compared on."""
CHOOSING = (torch.ops.aten.flatten.using_ints, torch.ops.aten.max_pool2d.default)
"""What gives the same of integers as of the values that they stand for."""


def frozen() -> AbstractContextManager[object]:
    """Let Inductor take weights as constants: only then it packs them for the kernels of this CPU."""
    context: AbstractContextManager[object] = inductor_config.patch(freezing=True)
    return context


class InductorNetwork(nn.Module):
    """A network compiled by Inductor, convolutions and linear layers on integer kernels; for one size of batches.

    Between layers values are stored as 8-bit integers, among which largest values are chosen. Sums, where no kernel of
    a convolution adds them itself, and average pooling read and write integers and compute in floating point, in code
    that Inductor generates: it counts no such operations, so that no audit can.

    It is shown to give the network's outputs on the first images of the example. On a processor without VNNI its
    kernels add pairs of products in 16 bits, where products of 8 bits can saturate: the answers may then be others.
    There that is no error; a warning says how far off they are, and so does ``agreement``. With weights of 7 bits sums
    cannot saturate.

    integer_operators: Convolutions and linear layers on integer kernels, in each of the graphs that were compiled.
    sums_in_kernels: Residual sums within the kernels of convolutions, of the graph that has the fewest.
    agreement: With the network, on the first images of the example.
    tolerance: How far off outputs may be, as a share of the largest; infinite where sums may saturate.

    Args:
        network: What ``unpack`` has returned, on the CPU, without unions: of an expanded network. It is used up.
        example: Images (N, C, H, W), N of every later call; another N compiles anew, and is audited anew.

    Raises:
        ArchitectureError: A convolution or linear layer is left in floating point; at a later call, too. Or activations
            have other than 8 bits.
        MismatchError: It gives other outputs than the network.
        DeviceError: Inductor cannot compile here.
    """

    integer_operators: int
    sums_in_kernels: int
    agreement: Agreement
    tolerance: float

    def __init__(self, network: SimulatedNetwork, example: Tensor) -> None:
        super().__init__()
        register_integer_kernels()
        self.tolerance = math.inf if _may_saturate(network) else INTEGER
        with torch.no_grad():
            wanted = network.eval()(example[:SHOWN])
        self.integer_operators = len(network.weighted_nodes())
        self.sums_in_kernels = self.integer_operators
        graph = converted(network)
        assert isinstance(graph, fx.GraphModule)
        _choose_integers_(graph)
        self._call: Callable[[Tensor], Tensor] = torch.compile(graph, dynamic=False)
        self._compiled: set[torch.Size] = set()
        try:
            found = self._compile(example)[:SHOWN]
        except InductorError as error:
            first = str(error).strip().splitlines()[0]
            raise DeviceError(
                f"expected a CPU and a C++ compiler that Inductor can use ({first}); install g++, or leave "
                "deploy.inductor false."
            ) from None
        what = "the network compiled by Inductor and the simulated one"
        self.agreement = check_engine(found, wanted, what, tolerance=self.tolerance)
        if self.tolerance > INTEGER:
            logger.warning(
                "this processor has no VNNI: sums of 8-bit products may saturate in Inductor's kernels; off by %.2g of "
                "the largest output on %d images; weights of 7 bits cannot",
                *(self.agreement.difference, self.agreement.images),
            )

    def train(self, mode: bool = True) -> "InductorNetwork":
        """Do nothing: it has one mode, and an exported graph refuses to be asked for another."""
        del mode
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images (N, C, H, W) to logits (N, classes)."""
        if images.shape not in self._compiled:
            return self._compile(images)
        with torch.no_grad():
            return self._call(images)

    def _compile(self, images: Tensor) -> Tensor:
        """Return logits of images of a new shape, and audit what Inductor has compiled for them."""
        counters["inductor"].clear()
        with frozen(), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logits = self._call(images)
        found = sum(counters["inductor"][name] for name in LOWERED)
        if found != self.integer_operators:
            raise ArchitectureError(
                f"expected {self.integer_operators} convolutions and linear layers as integer operators in Inductor, "
                f"got {found}; the others would run in floating point on this CPU."
            )
        self.sums_in_kernels = min(self.sums_in_kernels, counters["inductor"][WITH_SUM])
        self._compiled.add(images.shape)
        return logits


def _may_saturate(network: SimulatedNetwork) -> bool:
    """Return whether two products of a weight and an activation may exceed 16 bits, and are added in 16 bits here."""
    largest = max((item.quant_max for item in network.quantizers() if item.is_per_channel), default=0)
    return (
        not torch.cpu._is_vnni_supported() and 2 * largest * torch.iinfo(torch.uint8).max > torch.iinfo(torch.int16).max
    )


def _choose_integers_(graph: fx.GraphModule) -> None:
    """Dequantize behind a flatten or a choice of the largest instead of before it.

    Only so Inductor knows the layer that follows as one of integers.
    """
    for node in list(graph.graph.nodes):
        source = node.args[0] if node.target in CHOOSING else None
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
