"""Settings of the qat stage: quantization schemes."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ehap.errors import SettingsError
from ehap.settings.checks import at_least, share
from ehap.settings.training import Training

FEWEST_BITS, HALF_BYTE, BYTE, FLOAT = 2, 4, 8, 32


@dataclass(frozen=True, kw_only=True)
class Qat(Training):
    """How the fine-tuned network is trained with simulated quantization (the paper's Table IX).

    epochs: Passes over the training images. 0 is post-training quantization: activation ranges come from a few images,
        and weights stay.
    bits: Width of weights and activations, 2 to 8; 32 trains as many steps without quantization, for comparison.
    activation_bits: Width of activations if it differs from ``bits``.
    mix: Widths for the weights of a layer, e.g. [4, 8]. An integer linear program chooses one for each layer by exact
        traces; ``bits`` is the width of the activations. Empty: all layers have ``bits``.
    size: A budget for ``mix``: the weights' bytes, as a share of those with 8 bits throughout.
    bit_operations: The other budget, in place of ``size``: the sum over layers of multiply-adds times bits of weights
        times bits of activations, as a share of that with 8 bits throughout.
    hessian_images: Training images, without labels, for the traces of ``mix``.
    range_momentum: Share of the old activation range that stays at each training step. The n-th step replaces at least
        the share 1/n, unless ranges start from calibration_images.
    calibration_images: Training images, without labels, for the first activation ranges; 0: none.
    norms: BatchNorm's statistics. frozen: Those of fine-tuning, folded into the convolutions from the start, as in the
        paper's scheme. live: Those of each batch in training; the running ones are folded at the end.
    """

    nesterov: bool = False
    bits: int = BYTE
    activation_bits: int | None = None
    mix: tuple[int, ...] = ()
    size: float | None = None
    bit_operations: float | None = None
    hessian_images: int = 512
    range_momentum: float = 0.99
    calibration_images: int = 0
    norms: Literal["frozen", "live"] = "frozen"

    FEWEST_EPOCHS: ClassVar[int] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, widths in (("bits", (self.bits,)), ("activation_bits", self._activation()), ("mix", self.mix)):
            for width in widths:
                if not (FEWEST_BITS <= width <= BYTE or (name, width) == ("bits", FLOAT)):
                    also = f", or {FLOAT} for none at all" if name == "bits" else ""
                    raise SettingsError(f"{name} must be {FEWEST_BITS} to {BYTE}{also}, got {width}.")
        if self.precision != "fp32":  # a cast would round what the simulation has rounded already
            raise SettingsError(f"precision must be fp32 where quantization is simulated, got {self.precision}.")
        self._check_mix()
        share("range_momentum", self.range_momentum, zero=True, one=False)
        at_least("calibration_images", self.calibration_images, 0)
        if self.bits == FLOAT and (self.mix or self.activation_bits or self.calibration_images or not self.epochs):
            raise SettingsError(
                f"bits {FLOAT} trains without quantization: set epochs, and neither mix, activation_bits nor "
                "calibration_images."
            )
        if not self.epochs and not self.calibration_images:
            raise SettingsError("calibration_images must be above 0 where epochs is 0: activations need ranges.")
        if not self.epochs and self.norms == "live":
            raise SettingsError("norms must be frozen where epochs is 0: only a training moves statistics.")

    @property
    def budget(self) -> float:
        """The budget of ``mix``: a share of the costs with 8 bits throughout."""
        budget = self.size if self.size is not None else self.bit_operations
        return 1.0 if budget is None else budget

    def cost_of(self, bits: int) -> float:
        """Return bytes (``size``) or bit operations of weights with ``bits``, as a share of those with 8 bits."""
        if self.size is not None:
            return (HALF_BYTE if bits <= HALF_BYTE else BYTE) / BYTE  # as they are stored
        return bits / BYTE * self.width_of_activations / BYTE

    @property
    def width_of_activations(self) -> int:
        """Bits of every activation."""
        return self.activation_bits or self.bits

    def _activation(self) -> tuple[int, ...]:
        return () if self.activation_bits is None else (self.activation_bits,)

    def _check_mix(self) -> None:
        budgets = [name for name in ("size", "bit_operations") if getattr(self, name) is not None]
        if not self.mix:
            if budgets:
                raise SettingsError(f"{budgets[0]} is a budget for mix; give mix, e.g. [4, 8].")
            return
        if len(set(self.mix)) < max(2, len(self.mix)):
            raise SettingsError(f"mix: expected at least two widths, each once, got {list(self.mix)}.")
        if len(budgets) != 1:
            raise SettingsError("mix needs one budget: size or bit_operations, a share of that of 8 bits throughout.")
        share(budgets[0], getattr(self, budgets[0]), zero=False, one=True)
        at_least("hessian_images", self.hessian_images, 1)
        least = min(map(self.cost_of, self.mix))
        if self.budget < least:
            raise SettingsError(
                f"{budgets[0]} {self.budget:g} cannot be met: {min(self.mix)} bits throughout take {least:g}."
            )
