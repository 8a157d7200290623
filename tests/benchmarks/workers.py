"""Work for processes of their own; nothing is imported before it is needed, so that they start at once."""

from collections.abc import Sequence


def warmed(number: float, warm: object) -> float:
    """Return the number after the warm-up; end without a result where it is negative."""
    if number < 0:
        raise SystemExit
    assert callable(warm)
    warm()
    return number


def peaks(images: Sequence[int]) -> list[float]:
    """Return the peak memory of a repair with so many images, in GB."""
    from benchmarks.reconstruct import measured

    return [float(str(measured("resnet20", each, 0.6, "cpu", 1)["peak_memory_gb"])) for each in images]
