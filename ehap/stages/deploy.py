"""Stage deploy: a quantized network as an ONNX file, executed with integer kernels over the whole test set."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ehap.artifacts.datasets import Data, load_data
from ehap.artifacts.dense import blank_dense
from ehap.artifacts.job import Job
from ehap.artifacts.pruned import check_order
from ehap.artifacts.quantized import Quantized, load_quantized
from ehap.data import plain_batches
from ehap.engines.exact_sums import recorded
from ehap.engines.onnxruntime import OnnxNetwork, audit, check_declared, in_integers, left_in_float, to_onnx, widen
from ehap.engines.proof import check_engine
from ehap.errors import CheckpointError
from ehap.evaluation import parameters
from ehap.graph import INTEGER
from ehap.graph.channels import channel_graph
from ehap.models import INPUT_SHAPE
from ehap.pruning import prune
from ehap.pruning.padding import expanded, placements
from ehap.quantization import SimulatedNetwork, unpack
from ehap.records import Value
from ehap.runtime.files import write_atomically
from ehap.runtime.progress import logger
from ehap.settings import Deploy
from ehap.settings.deploy import ENGINE_BITS

SHOWN = 64
"""Test images on which an engine's logits are compared with those of the simulation."""


def run(job: Job[Deploy]) -> None:
    """Write the network in the packed file ``weights`` as ONNX, and test it as ONNX Runtime executes it on the CPU.

    ``training`` is the record of the stage that quantized it.

    Raises:
        ArchitectureError: An operator would be executed in floating point and is not declared, or the other way
            round; it is named.
        MismatchError: An engine gives other logits than the simulated network.
    """
    settings, machine, weights = job.settings, job.machine, job.input("weights")
    device = job.device("cpu")
    images = load_data(job, device)
    quantized = load_quantized(weights, job.input("training"), job.identity)
    width = quantized.scheme.width_of_activations
    if width != ENGINE_BITS:
        raise CheckpointError(
            f"{weights}: expected activations of {ENGINE_BITS} bits, as engines take, got those of {width}."
        )
    check_order(weights, {"order": quantized.order})
    simulated = _logits(quantized.simulated(), images)
    widened = _Widened(quantized, blank_dense(job.identity))
    content = to_onnx(widened.network(settings.round_to), INPUT_SHAPE)
    operators = audit(content)
    logger.info("as executed: %s", ", ".join(f"{count} {name}" for name, count in sorted(operators.items())))
    in_float = left_in_float(operators)
    check_declared(in_float, settings.float_operators)
    found = _logits(OnnxNetwork(content, machine.threads), images)
    answers, right = found.argmax(1), images.test[1]
    values = {
        "deployed_accuracy": Value(100 * (answers == right).double().mean().item(), "percent"),
        "simulated_accuracy": Value(100 * (simulated.argmax(1) == right).double().mean().item(), "percent"),
        "mismatches": Value(int((answers != simulated.argmax(1)).sum()), "images"),
        "onnx_difference": _difference(found, simulated, INTEGER, "the ONNX file"),
        "integer_operators": Value(in_integers(operators), "operators"),
        "float_operators": Value(sum(in_float.values()), "operators"),
        **{f"float_operators.{name}": Value(count, "operators") for name, count in sorted(in_float.items())},
        "packed_size": Value(weights.stat().st_size, "bytes"),
        "onnx_size": Value(len(content), "bytes"),
        **recorded(),
        "parameters": Value(parameters(quantized.compact), "parameters"),
        "executed_parameters": Value(parameters(widened.whole(settings.round_to)), "parameters"),
    }
    if settings.inductor:
        values |= _in_inductor(widened.network(1), images, simulated)  # padding brings it nothing
    write_atomically(job.output("onnx"), content)
    job.write_record(values, device)


@dataclass(frozen=True)
class _Widened:
    """A quantized network as engines want it: a plain residual network, every writer of a stream as wide as its sum."""

    quantized: Quantized
    dense: nn.Module

    def _widths(self, round_to: int) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
        layers = channel_graph(self.dense).widths()
        kept = self.quantized.kept or {name: list(range(width)) for name, width in layers.items()}
        return kept, expanded(self.dense, kept, round_to)

    def whole(self, round_to: int) -> nn.Module:
        """Return its architecture, widths raised to multiples of ``round_to``, weights uninitialised."""
        return prune(self.dense, self._widths(round_to)[1])

    def network(self, round_to: int) -> SimulatedNetwork:
        """Return it with its integers, and zeros everywhere else."""
        packed = widen(self.quantized.packed, placements(self.dense, *self._widths(round_to)))
        return unpack(packed, self.whole(round_to), self.quantized.scheme, INPUT_SHAPE, self.quantized.bits)


def _in_inductor(network: SimulatedNetwork, images: Data, simulated: Tensor) -> dict[str, Value]:
    """Return what a network is worth as Inductor executes it; ``simulated`` are the logits to compare with."""
    from ehap.engines.inductor import InductorNetwork  # imports the compiler, which other jobs need not wait for

    compiled = InductorNetwork(network, next(plain_batches(*images.test, images.info))[0])
    found = _logits(compiled, images)
    answers = found.argmax(1)
    return {
        "inductor_accuracy": Value(100 * (answers == images.test[1]).double().mean().item(), "percent"),
        "inductor_mismatches": Value(int((answers != simulated.argmax(1)).sum()), "images"),
        "inductor_difference": _difference(found, simulated, compiled.tolerance, "the network compiled by Inductor"),
        # Convolutions and linear layers, in every compiled graph; of sums only those that a convolution's kernel adds.
        "inductor_integer_operators": Value(compiled.integer_operators, "operators"),
        "inductor_sums_in_kernels": Value(compiled.sums_in_kernels, "operators"),
    }


def _difference(found: Tensor, simulated: Tensor, tolerance: float, what: str) -> Value:
    """Return how far off an engine's logits are on the first test images, as a share of the largest.

    Raises:
        MismatchError: Further than ``tolerance``.
    """
    both = f"{what} and the simulated network, on test images,"
    agreement = check_engine(found[:SHOWN], simulated[:SHOWN], both, tolerance=tolerance)
    return Value(agreement.difference, "of the largest output")


@torch.no_grad()
def _logits(network: nn.Module, images: Data) -> Tensor:
    """Return the logits (N, classes) that a network gives the test images."""
    network.eval()
    return torch.cat([network(inputs) for inputs, _ in plain_batches(*images.test, images.info)])
