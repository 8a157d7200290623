"""torch's Inductor as an engine: it compiles a network for the integer kernels of an x86 CPU."""

import math
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import ClassVar

import torch
import torch._inductor.config as inductor_config
from torch import Tensor, fx, nn
from torch._dynamo.utils import counters
from torch._inductor.exc import InductorError

from ehap.engines.base import Audit, Engine, Session
from ehap.engines.conversion import converted
from ehap.engines.proof import check_engine
from ehap.errors import ArchitectureError, DeviceError
from ehap.graph import INTEGER, Agreement
from ehap.quantization.pt2e import register_integer_kernels
from ehap.quantization.simulation import SimulatedNetwork
from ehap.runtime.progress import logger

LOWERED = ("qconv_unary_lower_count", "qconv_binary_lower_count", "qlinear_unary_lower_count")
"""Counters of Inductor for convolutions and linear layers on integer kernels."""
WITH_SUM = "qconv_binary_lower_count"
"""The counter for convolutions whose kernel also adds the other side of a residual sum."""
SHOWN = 16
"""Number of images on which outputs are compared."""
CHOOSING = (torch.ops.aten.flatten.using_ints, torch.ops.aten.max_pool2d.default)
"""Operations that move or choose values: they may work on the integers."""


def frozen() -> AbstractContextManager[object]:
    """Let Inductor treat weights as constants; only then it packs them for the kernels of this CPU."""
    context: AbstractContextManager[object] = inductor_config.patch(freezing=True)
    return context


class InductorNetwork(nn.Module):
    """A network compiled by Inductor for one batch size, with convolutions and linear layers on integer kernels.

    Between layers, values are stored as 8-bit integers. Max pooling works on the integers. Average pooling, and sums
    outside the kernels of convolutions, read and write integers and compute in floating point. Inductor generates the
    code for these and does not count them, so no audit can.

    Its outputs on the first images of the example are compared with those of the network. On a processor without VNNI
    the kernels add pairs of products in 16 bits. There, products of 8 bits can saturate and change the answers. That is
    no error: a warning and ``agreement`` give the difference. With weights of 7 bits, sums cannot saturate.

    integer_operators: Convolutions and linear layers on integer kernels, in each compiled graph.
    sums_in_kernels: Residual sums within the kernels of convolutions, in the graph that has the fewest.
    agreement: Agreement with the network, on the first images of the example.
    tolerance: Largest allowed difference, as a share of the largest output; infinite where sums may saturate.

    Args:
        network: Result of ``unpack`` or ``deployable``, on the CPU, without unions. It is used up.
        example: Images (N, C, H, W). Later calls have the same N; another N is compiled and audited again.

    Raises:
        ArchitectureError: A convolution or linear layer stays in floating point (a later call raises it, too), or
            activations have other than 8 bits.
        MismatchError: Its outputs differ from those of the network.
        DeviceError: Inductor cannot compile here.
    """

    content: ClassVar[None] = None
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
        self._threads = torch.get_num_threads()
        try:
            found = self._compile(example)[:SHOWN]
        except InductorError as error:
            first = str(error).strip().splitlines()[0]
            raise DeviceError(
                f"Inductor cannot compile on this machine ({first}); install g++, or set deploy.inductor: false."
            ) from None
        what = "the network compiled by Inductor and the simulated one"
        self.agreement = check_engine(found, wanted, what, tolerance=self.tolerance)
        if self.tolerance > INTEGER:
            logger.warning(
                "this processor has no VNNI: sums of 8-bit products may saturate in Inductor's kernels; off by %.2g of "
                "the largest output on %d images; with weights of 7 bits sums cannot saturate",
                *(self.agreement.difference, self.agreement.images),
            )

    def train(self, mode: bool = True) -> "InductorNetwork":
        """Do nothing: a compiled network has one mode only."""
        del mode
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images (N, C, H, W) to logits (N, classes)."""
        if images.shape not in self._compiled:
            return self._compile(images)
        with torch.no_grad():
            return self._call(images)

    def run(self, images: Tensor) -> Tensor:
        """Return the logits (N, classes) of normalised images (N, C, H, W)."""
        return self(images)  # type: ignore[no-any-return]  # a module's call is typed Any

    def audit(self) -> Audit:
        """Return how many convolutions and linear layers run in integers, and how many kernels add residual sums."""
        return Audit({"layers": self.integer_operators}, {}, others={"sums_in_kernels": self.sums_in_kernels})

    def session(self, threads: int = 1) -> Session:
        """Return this network; Inductor compiles for the number of threads that torch has at export.

        Raises:
            DeviceError: It was compiled for another number of threads.
        """
        if threads != self._threads:
            raise DeviceError(
                f"Inductor has compiled this network for {self._threads} threads, got {threads}; call "
                f"torch.set_num_threads({threads}) before the export."
            )
        return self

    def _compile(self, images: Tensor) -> Tensor:
        """Return logits of images of a new shape, and audit the graph that Inductor compiles for them."""
        counters["inductor"].clear()
        with frozen(), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logits = self._call(images)
        found = sum(counters["inductor"][name] for name in LOWERED)
        if found != self.integer_operators:
            raise ArchitectureError(
                f"expected {self.integer_operators} convolutions and linear layers as integer operators in Inductor, "
                f"got {found}; the others would run in floating point on this CPU. Set deploy.inductor: false."
            )
        self.sums_in_kernels = min(self.sums_in_kernels, counters["inductor"][WITH_SUM])
        self._compiled.add(images.shape)
        return logits


class Inductor(Engine):
    """torch's Inductor on an x86 CPU."""

    name: ClassVar[str] = "inductor"
    package: ClassVar[str] = "torch"
    likes_wide: ClassVar[bool] = False

    def export(self, network: SimulatedNetwork, images: Tensor) -> InductorNetwork:
        """Return a network compiled for batches of this size; see ``InductorNetwork``."""
        return InductorNetwork(network, images)


def _may_saturate(network: SimulatedNetwork) -> bool:
    """Return whether this processor adds pairs of products in 16 bits, and they may exceed these."""
    largest = max((item.quant_max for item in network.quantizers() if item.is_per_channel), default=0)
    return (
        not torch.cpu._is_vnni_supported() and 2 * largest * torch.iinfo(torch.uint8).max > torch.iinfo(torch.int16).max
    )


def _choose_integers_(graph: fx.GraphModule) -> None:
    """Dequantize behind a flatten or max pooling instead of before it, in place.

    Otherwise Inductor does not recognise the next layer as an integer layer.
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
