"""Settings of the trace stage: one named curvature."""

from dataclasses import dataclass
from typing import Literal

from ehap.settings.checks import Precision, at_least, positive


@dataclass(frozen=True, kw_only=True)
class Trace:
    """How channel traces of the Hessian are computed.

    batch_size: Un-augmented training images of the Hessian batch.
    estimator: hutchinson = random ±1 vectors (Algorithms 1 and 2 of the paper).
    precision: fp32, or autocast to fp16 or bf16. FP16 double backward is some 80 times slower on a CPU.
    samples: Random vectors; the standard error falls as 1/√samples.
    scale: The gradients are multiplied by it before the second backward pass and each sample is divided by it
        (the paper's 2⁸), so that FP16 neither underflows nor overflows.
    micro_batch: Images a pass; None for the whole Hessian batch at once. Each micro-batch draws its own vectors.
    """

    batch_size: int
    estimator: Literal["hutchinson"] = "hutchinson"
    precision: Precision = "fp32"
    samples: int = 300
    scale: float = 1.0
    micro_batch: int | None = None

    def __post_init__(self) -> None:
        at_least("batch_size", self.batch_size, 1)
        at_least("samples", self.samples, 1)
        positive("scale", self.scale)
        at_least("micro_batch", self.micro_batch, 1)
