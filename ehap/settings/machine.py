"""Where a run computes. Nothing here changes a result, so a change here reruns nothing."""

from dataclasses import dataclass
from typing import Literal

from ehap.errors import SettingsError
from ehap.settings.checks import at_least

Step = Literal["eager", "compile", "graphs"]
MOST_PER_GPU = 100


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The device, and where the datasets are.

    device: auto takes a GPU when there is one; cuda insists on it.
    cells_per_gpu: ResNet trainings side by side on one GPU. Wide networks train at most two at a time. Traces and
        repairs always run alone, since their time and memory are results.
    step: How a training step is launched: eager; compile (torch.compile); graphs (CUDA graphs, on a GPU only).
    threads: CPU threads of one job. Sums differ in their last bits between thread counts.
    data_folder: Holds cifar10/cifar-10-batches-py and cifar100/cifar-100-python (or those two folders directly).
    seconds_between_states: Seconds between two kept states of a job. An interrupted job goes on from the last state;
        trainings keep one after every epoch, too.
    tensorboard: Whether trainings write event files, under ``logs/<run>/tensorboard``; needs the package tensorboard.
    download: Whether a missing dataset may be downloaded into data_folder.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    cells_per_gpu: int = 4
    step: Step = "eager"
    threads: int = 1
    data_folder: str = "data"
    download: bool = False
    tensorboard: bool = False
    seconds_between_states: float = 60.0

    def __post_init__(self) -> None:
        at_least("threads", self.threads, 1)
        at_least("cells_per_gpu", self.cells_per_gpu, 1)
        if self.cells_per_gpu > MOST_PER_GPU:
            raise SettingsError(f"cells_per_gpu must be at most {MOST_PER_GPU}, got {self.cells_per_gpu}.")
        at_least("seconds_between_states", self.seconds_between_states, 0)
