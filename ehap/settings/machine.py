"""Where a run computes. Nothing here changes what is computed, so a change here reruns nothing."""

from dataclasses import dataclass
from typing import Literal

from ehap.settings.checks import at_least


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The device, and where the datasets are.

    device: auto takes a GPU when there is one; cuda insists on it.
    threads: CPU threads of one job. Sums differ in their last bits between thread counts.
    data_folder: Holds cifar10/cifar-10-batches-py and cifar100/cifar-100-python (or those two folders directly).
    download: Whether a missing dataset may be downloaded into data_folder.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = 1
    data_folder: str = "data"
    download: bool = False

    def __post_init__(self) -> None:
        at_least("threads", self.threads, 1)
