"""The refusal of FP16 traces on a CPU: before a run, and in a job that finds its device itself."""

from ehap.errors import DeviceError
from ehap.settings.trace import Trace


def check_fp16(settings: Trace, curvature: str, on_cpu: bool) -> None:
    """Raise DeviceError where traces in FP16 are to be computed on a CPU.

    Args:
        settings: Settings of the traces.
        curvature: Their name.
        on_cpu: Whether there is no GPU for them.
    """
    if on_cpu and settings.precision == "fp16" and not settings.allow_cpu_fp16:
        raise DeviceError(
            f"curvature {curvature}: FP16 is about 80 times slower on a CPU; use precision bf16 or estimator exact, "
            "run on a GPU, or write allow_cpu_fp16: true."
        )
