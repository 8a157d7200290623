"""Settings of the deploy stage: export quantized networks to engines."""

from dataclasses import dataclass

from ehap.errors import SettingsError
from ehap.settings.checks import at_least

ENGINE_BITS = 8
"""Bits of activations that integer kernels take."""
FURTHER_ENGINES = {"inductor": "Inductor"}
"""Engines that test a network beside ONNX Runtime, by the field that asks for them; their titles in tables."""


@dataclass(frozen=True, kw_only=True)
class Deploy:
    """How a quantized network becomes an ONNX file.

    round_to: Widths are raised to multiples of it, with zeros. On a processor with VNNI, an integer kernel is faster
        with 16 channels than with 6. On a processor without, 1 is faster.
    inductor: Test the network in torch's Inductor, too; needs a C++ compiler.
    float_operators: Operators that may stay in floating point in ONNX Runtime, by its names, e.g. [Softmax]. Any other
        operator in floating point is an error, and so is a name here that does not occur.
    """

    round_to: int = 16
    inductor: bool = False
    float_operators: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        at_least("round_to", self.round_to, 1)
        if len(set(self.float_operators)) < len(self.float_operators):
            raise SettingsError(f"float_operators: expected each name once, got {list(self.float_operators)}.")

    @property
    def further_engines(self) -> tuple[str, ...]:
        """Names of the engines that test the network beside ONNX Runtime."""
        return tuple(name for name in FURTHER_ENGINES if getattr(self, name))
