"""Settings of the deploy stage: quantized networks as files for an engine."""

from dataclasses import dataclass

from ehap.settings.checks import at_least

ENGINE_BITS = 8  # what integer kernels take


@dataclass(frozen=True, kw_only=True)
class Deploy:
    """How a quantized network becomes an ONNX file.

    round_to: Widths are raised to multiples of it, with zeros: 16 channels take an integer kernel less time than 6.
    inductor: Test the network as torch's Inductor compiles it for integer kernels, too; needs a C++ compiler.
    """

    round_to: int = 16
    inductor: bool = False

    def __post_init__(self) -> None:
        at_least("round_to", self.round_to, 1)
