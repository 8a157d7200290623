"""Settings of the deploy stage: quantized networks as files for an engine."""

from dataclasses import dataclass

from ehap.errors import SettingsError
from ehap.settings.checks import at_least

ENGINE_BITS = 8  # what integer kernels take


@dataclass(frozen=True, kw_only=True)
class Deploy:
    """How a quantized network becomes an ONNX file.

    round_to: Widths are raised to multiples of it, with zeros: 16 channels take an integer kernel less time than 6 on a
        processor with VNNI; on one without, 1 is faster.
    inductor: Test the network as torch's Inductor compiles it for integer kernels, too; needs a C++ compiler.
    float_operators: Operators that may stay in floating point in ONNX Runtime, by its names, e.g. [Softmax]; any other
        one is an error, and so is one named here that is not there.
    """

    round_to: int = 16
    inductor: bool = False
    float_operators: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        at_least("round_to", self.round_to, 1)
        if len(set(self.float_operators)) < len(self.float_operators):
            raise SettingsError(f"float_operators: expected each name once, got {list(self.float_operators)}.")
