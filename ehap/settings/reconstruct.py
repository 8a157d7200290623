"""Settings of the reconstruct stage: a pruned network repaired without labels."""

from dataclasses import dataclass

from ehap.errors import SettingsError
from ehap.settings.checks import Precision, at_least, positive, share


@dataclass(frozen=True, kw_only=True)
class Reconstruct:
    """How a pruned network is brought near to the dense one on some images, without labels.

    images: Number of training images, drawn without replacement; 0 leaves the whole stage out.
    draw: Number of the draw: 0, 1, …; another number gives other images of the same cell, and so does another seed.
    held_out: Share of the images that the repair does not learn from: at least one image, at most 128. The record has
        the error of the outputs on them before and after, and the log says if it grew. 0 learns from all.
    ridge: Ridge of the least squares that fit each layer, see ``ehap.repair.reconstruction``; null leaves out the
        least squares.
    positions: Number of positions of each feature map that give equations; 0 takes all.
    distill_steps: Number of distillation steps towards the dense network's outputs on the same images, rounded to whole
        passes over them; 0 leaves distillation out.
    learning_rate, momentum, weight_decay, batch_size, precision: Settings of the distillation steps, as in
        ``pretrain``.
    warmup: Share of the passes over which the learning rate grows; a single pass has no warm-up.
    temperature: Temperature of the softmax in distillation.
    """

    images: int = 0
    draw: int = 0
    held_out: float = 0.125
    ridge: float | None = 1e-2
    positions: int = 64
    distill_steps: int = 300
    learning_rate: float = 0.005
    momentum: float = 0.9
    weight_decay: float = 1e-3
    batch_size: int = 128
    precision: Precision = "fp32"
    warmup: float = 0.1
    temperature: float = 2.0

    def __post_init__(self) -> None:
        at_least("images", self.images, 0)
        share("held_out", self.held_out, zero=True, one=False)
        least = 3 if self.held_out else 2
        if 0 < self.images < least:
            held_out = f" with held_out {self.held_out:g}" if self.held_out else ""
            raise SettingsError(
                f"images must be 0 (no reconstruction) or at least {least}{held_out}, got {self.images}."
            )
        at_least("draw", self.draw, 0)
        if self.ridge is not None:
            positive("ridge", self.ridge)
        at_least("positions", self.positions, 0)
        at_least("distill_steps", self.distill_steps, 0)
        positive("learning_rate", self.learning_rate)
        share("momentum", self.momentum, zero=True, one=False)
        at_least("weight_decay", self.weight_decay, 0)
        at_least("batch_size", self.batch_size, 1)
        share("warmup", self.warmup, zero=True, one=False)
        positive("temperature", self.temperature)
        if self.images and self.ridge is None and not self.distill_steps:
            raise SettingsError("ridge null and distill_steps 0 leave nothing to do; give one of them, or images 0.")
