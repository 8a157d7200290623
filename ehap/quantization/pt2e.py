"""Import the parts of torchao that this package uses; no other module imports torchao."""

import logging

# torchao 0.18 registers an enum on import, and torch 2.15 warns about it. Users cannot act on that warning.
logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)

from torchao.quantization.pt2e import FakeQuantize, MovingAverageMinMaxObserver, PerChannelMinMaxObserver  # noqa: E402
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_qat_pt2e  # noqa: E402
from torchao.quantization.pt2e.quantizer import (  # noqa: E402
    QuantizationAnnotation,
    QuantizationSpec,
    QuantizationSpecBase,
    Quantizer,
)

__all__ = [
    "FakeQuantize",
    "MovingAverageMinMaxObserver",
    "PerChannelMinMaxObserver",
    "QuantizationAnnotation",
    "QuantizationSpec",
    "QuantizationSpecBase",
    "Quantizer",
    "convert_pt2e",
    "prepare_qat_pt2e",
    "register_integer_kernels",
]


def register_integer_kernels() -> None:
    """Register the patterns that Inductor lowers to integer kernels on x86 CPUs."""
    import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer  # noqa: F401
