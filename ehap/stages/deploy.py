"""Stage deploy: export a quantized network to ONNX and test it on integer kernels over the whole test set."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ehap.artifacts.datasets import Data, load_data
from ehap.artifacts.job import Job
from ehap.artifacts.pruned import check_order
from ehap.artifacts.quantized import Quantized, load_quantized
from ehap.data import plain_batches
from ehap.engines.base import Engine, EngineNetwork, Session
from ehap.engines.deployable import deployable
from ehap.engines.exact_sums import recorded
from ehap.engines.onnxruntime.engine import OnnxFile, OnnxRuntime
from ehap.engines.onnxruntime.operators import check_declared
from ehap.engines.proof import check_engine
from ehap.engines.registry import engine
from ehap.errors import CheckpointError
from ehap.evaluation import parameters
from ehap.pruning.widening import widened
from ehap.quantization import SimulatedNetwork
from ehap.records import Proof, Value, proof
from ehap.runtime.files import write_atomically
from ehap.runtime.progress import logger
from ehap.settings import Deploy
from ehap.settings.deploy import ENGINE_BITS, FURTHER_ENGINES

SHOWN = 64
"""Number of test images for the comparison of an engine's logits with the simulation's."""


def run(job: Job[Deploy]) -> None:
    """Write the network in the packed file ``weights`` as ONNX, and test it in ONNX Runtime on the CPU.

    ``training`` is the record of the stage that quantized it.

    Raises:
        ArchitectureError: The operators in floating point are not those that the settings declare; they are named.
        MismatchError: An engine gives other logits than the simulated network.
        MissingPackageError: The package of a further engine is not installed.
    """
    settings, threads, weights = job.settings, job.machine.threads, job.input("weights")
    device = job.device("cpu")
    further = [engine(name) for name in settings.further_engines]  # a missing package ends the job here
    images = load_data(job, device)
    quantized = load_quantized(weights, job.input("training"), job.identity)
    _check_bits(weights, quantized)
    check_order(weights, {"order": quantized.order})
    trial = _Trial(quantized, images, _logits(quantized.simulated(), images), threads)
    file = OnnxRuntime().export(trial.network(settings.round_to), trial.first_batch())
    operators = _checked_operators(file, settings)
    answers, agreement = trial.answers(file, "the ONNX file")
    values = {
        "deployed_accuracy": answers["accuracy"],
        "simulated_accuracy": _accuracy(trial.simulated, images),
        "mismatches": answers["mismatches"],
        "onnx_difference": answers["difference"],
        **operators,
        "packed_size": Value(weights.stat().st_size, "bytes"),
        "onnx_size": Value(len(file.content), "bytes"),
        **recorded(),
        "parameters": Value(parameters(quantized.compact), "parameters"),
        "executed_parameters": Value(trial.parameters(settings.round_to), "parameters"),
    }
    proofs = {OnnxRuntime.name: agreement}
    for each in further:
        found, proofs[each.name] = trial.further(each, settings)
        values |= found
    write_atomically(job.output("onnx"), file.content)
    job.write_record(values, device, proofs)


@dataclass(frozen=True)
class _Trial:
    """The test of one quantized network in several engines.

    simulated: Logits (N, classes) of the simulation on the test images. threads: Of a call.
    """

    quantized: Quantized
    images: Data
    simulated: Tensor
    threads: int

    def first_batch(self) -> Tensor:
        """Return the first normalised test images (N, C, H, W)."""
        inputs: Tensor = next(plain_batches(*self.images.test, self.images.info))[0]
        return inputs

    def network(self, round_to: int) -> SimulatedNetwork:
        """Return the network with plain sums and padded widths; an export uses it up."""
        found = self.quantized
        return deployable(found.packed, found.compact, found.scheme, found.input_shape, found.bits, round_to)

    def parameters(self, round_to: int) -> int:
        """Return the number of parameters of this network."""
        return parameters(widened(self.quantized.compact, round_to))

    def answers(self, network: EngineNetwork, what: str) -> tuple[dict[str, Value], Proof]:
        """Return accuracy, mismatches and difference of an engine on the test images, and the proof of the difference.

        Raises:
            MismatchError: The logits differ from the simulation's by more than the engine's tolerance.
        """
        found = _logits(network.session(self.threads), self.images)
        both = f"{what} and the simulated network, on test images,"
        agreement = check_engine(found[:SHOWN], self.simulated[:SHOWN], both, tolerance=network.tolerance)
        mismatches = int((found.argmax(1) != self.simulated.argmax(1)).sum())
        values = {
            "accuracy": _accuracy(found, self.images),
            "mismatches": Value(mismatches, "images"),
            "difference": Value(agreement.difference, "of the largest output"),
        }
        return values, proof(agreement)

    def further(self, engine: Engine, settings: Deploy) -> tuple[dict[str, Value], Proof]:
        """Return the values of the network in a further engine, under its name, and the proof."""
        network = engine.export(self.network(settings.round_to if engine.likes_wide else 1), self.first_batch())
        values, shown = self.answers(network, f"the network in {FURTHER_ENGINES[engine.name]}")
        audit = network.audit()
        in_float = {f"float_operators.{name}": count for name, count in sorted(audit.in_float.items())}
        counts = {"integer_operators": sum(audit.in_integers.values()), **in_float, **audit.others}
        values |= {name: Value(count, "operators") for name, count in counts.items()}
        return {f"{engine.name}_{name}": value for name, value in values.items()}, shown


def _check_bits(weights: Path, quantized: Quantized) -> None:
    width = quantized.scheme.width_of_activations
    if width != ENGINE_BITS:
        raise CheckpointError(
            f"{weights}: activations have {width} bits, but engines take {ENGINE_BITS}; deploy a scheme with "
            f"activation_bits {ENGINE_BITS}."
        )


def _checked_operators(file: OnnxFile, settings: Deploy) -> dict[str, Value]:
    """Return how many operators ONNX Runtime executes in integers and in floating point.

    Raises:
        ArchitectureError: The settings declare other operators in floating point.
    """
    audit = file.audit()
    in_float = audit.in_float
    executed = {**audit.in_integers, **in_float, **audit.neither}
    logger.info("as executed: %s", ", ".join(f"{count} {name}" for name, count in sorted(executed.items())))
    check_declared(in_float, settings.float_operators)
    return {
        "integer_operators": Value(sum(audit.in_integers.values()), "operators"),
        "float_operators": Value(sum(in_float.values()), "operators"),
        **{f"float_operators.{name}": Value(count, "operators") for name, count in sorted(in_float.items())},
    }


def _accuracy(logits: Tensor, images: Data) -> Value:
    """Return the percentage of test images that get the largest logit for their class."""
    return Value(100 * (logits.argmax(1) == images.test[1]).double().mean().item(), "percent")


@torch.no_grad()
def _logits(network: Session, images: Data) -> Tensor:
    """Return the logits (N, classes) that a network in eval mode gives the test images."""
    return torch.cat([network(inputs) for inputs, _ in plain_batches(*images.test, images.info)])
