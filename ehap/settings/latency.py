"""Settings of the latency stage: time deployed networks."""

from dataclasses import dataclass

from ehap.errors import SettingsError
from ehap.settings.checks import at_least


@dataclass(frozen=True, kw_only=True)
class Latency:
    """How a deployed network and the dense one are timed in ONNX Runtime, each in FP32 and in INT8.

    batches: Numbers of images of a call.
    rounds: Calls of each network, in turns; the median counts.
    threads: Number of threads of one call.
    """

    batches: tuple[int, ...] = (1, 64)
    rounds: int = 25
    threads: int = 1

    def __post_init__(self) -> None:
        if not self.batches or len(set(self.batches)) < len(self.batches):
            raise SettingsError(
                f"batches: expected at least one number of images, each once, got {list(self.batches)}."
            )
        for batch in self.batches:
            at_least("batches", batch, 1)
        at_least("rounds", self.rounds, 1)
        at_least("threads", self.threads, 1)
