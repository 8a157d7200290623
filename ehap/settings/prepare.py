"""Settings of the prepare stage."""

from dataclasses import dataclass

from ehap.settings.checks import at_least


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """Which images of a dataset a run uses.

    train_images: Number of training images, from the first on; null: all.
    test_images: Number of test images, from the first on; null: all.
    """

    train_images: int | None = None
    test_images: int | None = None

    def __post_init__(self) -> None:
        at_least("train_images", self.train_images, 1)
        at_least("test_images", self.test_images, 1)
