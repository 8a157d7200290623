"""Settings of the qat stage: a quantization scheme, and the training under it."""

from dataclasses import dataclass
from typing import ClassVar

from ehap.errors import SettingsError
from ehap.settings.checks import at_least, share
from ehap.settings.scheme import FLOAT, Scheme
from ehap.settings.training import Training

RANGE_MOMENTUM = 0.99


@dataclass(frozen=True, kw_only=True)
class Qat(Scheme, Training):
    """How the fine-tuned network is trained with simulated quantization (the paper's Table IX).

    epochs: Passes over the training images. 0 is post-training quantization: activation ranges come from a few images,
        and weights stay.
    bits: Width of weights and activations, 2 to 8; 32 trains as many steps without quantization, for comparison.
    hessian_images: Training images, without labels, for the traces of ``mix``.
    range_momentum: Share of the old activation range that stays at each training step. The n-th step replaces at least
        the share 1/n, unless ranges start from calibration_images.
    calibration_images: Training images, without labels, for the first activation ranges; 0: none.
    """

    nesterov: bool = False
    hessian_images: int = 512
    range_momentum: float = RANGE_MOMENTUM
    calibration_images: int = 0

    FEWEST_EPOCHS: ClassVar[int] = 0
    MAY_BE_FLOAT: ClassVar[bool] = True

    def __post_init__(self) -> None:
        Training.__post_init__(self)
        Scheme.__post_init__(self)
        if self.precision != "fp32":  # a cast would round what the simulation has rounded already
            raise SettingsError(f"precision must be fp32 where quantization is simulated, got {self.precision}.")
        if self.mix:
            at_least("hessian_images", self.hessian_images, 1)
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
