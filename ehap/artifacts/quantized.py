"""Quantized networks, read from their files."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ehap.artifacts.pruned import blank_model
from ehap.data import DATASETS
from ehap.errors import CheckpointError
from ehap.quantization import Packed, SimulatedNetwork, called_layers, from_tensors, unpack
from ehap.records import Identity, read_record, read_tensors
from ehap.settings import Qat, build
from ehap.settings.scheme import FLOAT


@dataclass(frozen=True)
class Quantized:
    """A packed network with its plan and scheme.

    compact: Architecture in floating point, with uninitialised weights. kept: Plan; None where nothing is pruned.
    scheme: Settings of the quantization. bits: Layer name to bits of its weights. order: Order of unions.
    input_shape: (C, H, W) of an image.
    """

    packed: Packed
    compact: nn.Module
    kept: dict[str, list[int]] | None
    scheme: Qat
    bits: dict[str, int]
    order: str
    input_shape: tuple[int, int, int]

    def simulated(self) -> SimulatedNetwork:
        """Return the simulated network with these integers, on the device of ``compact``."""
        return unpack(self.packed, self.compact, self.scheme, self.input_shape, self.bits)


def load_quantized(path: Path, training: Path, identity: Identity) -> Quantized:
    """Read a packed file on the CPU; ``training`` is the record of its quantization.

    Raises:
        CheckpointError: The file is missing, damaged, or of another cell or network.
    """
    tensors, metadata = read_tensors(path)
    compact = blank_model(path, metadata, identity)
    scheme = build(Qat, read_record(training)["settings"], str(training))
    found, wanted = (metadata.get("scheme"), metadata.get("bits")), (identity.scheme, scheme.bits)
    if found != wanted or scheme.bits == FLOAT:
        raise CheckpointError(
            f"{path}: expected integers of scheme {wanted[0]}, {wanted[1]} bits, as {training} says, got those of "
            f"scheme {found[0]}, {found[1]} bits; give the file and the record of one scheme that quantizes."
        )
    if metadata.get("method") != identity.method:
        raise CheckpointError(
            f"{path}: expected integers of method {identity.method}, got those of method {metadata.get('method')}; "
            "give the method its own file."
        )
    bits = metadata.get("layer_bits") or dict.fromkeys(called_layers(compact), scheme.bits)
    packed = from_tensors(tensors, compact, bits)
    shape = DATASETS[identity.dataset].input_shape
    return Quantized(packed, compact, metadata["kept"], scheme, bits, metadata.get("order", "sorted"), shape)
