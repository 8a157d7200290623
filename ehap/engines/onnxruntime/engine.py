"""ONNX Runtime as an engine."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ehap.engines.base import Audit, Engine, Session
from ehap.engines.onnxruntime.export import to_onnx
from ehap.engines.onnxruntime.operators import IN_INTEGERS, audit, left_in_float
from ehap.engines.onnxruntime.session import OnnxNetwork
from ehap.graph import INTEGER
from ehap.quantization.simulation import SimulatedNetwork


@dataclass(frozen=True)
class OnnxFile:
    """A quantized network as an ONNX file."""

    content: bytes
    tolerance: float = INTEGER

    def run(self, images: Tensor) -> Tensor:
        """Return the logits (N, classes) of normalised images (N, C, H, W)."""
        return self.session()(images)

    def audit(self) -> Audit:
        """Return the operators of the graph that ONNX Runtime executes here."""
        operators = audit(self.content)
        integers = {name: count for name, count in operators.items() if name in IN_INTEGERS}
        floats = left_in_float(operators)
        others = {name: count for name, count in operators.items() if name not in {*integers, *floats}}
        return Audit(integers, floats, neither=others)

    def session(self, threads: int = 1) -> Session:
        """Return a session with so many threads."""
        return OnnxNetwork(self.content, threads)


class OnnxRuntime(Engine):
    """ONNX Runtime on the CPU."""

    name: ClassVar[str] = "onnxruntime"
    package: ClassVar[str] = "onnxruntime"
    likes_wide: ClassVar[bool] = True

    def export(self, network: SimulatedNetwork, images: Tensor) -> OnnxFile:
        """Return a network as an ONNX file for batches of any size; see ``to_onnx``."""
        channels, rows, columns = images.shape[1:]
        return OnnxFile(to_onnx(network, (channels, rows, columns)))
