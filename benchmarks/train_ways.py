"""Speed of our trainings and of the usual way: a DataLoader with torchvision's transforms and worker processes."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ehap.data import CIFAR_SHAPE, DATASETS, Split, draw_epoch, training_batches
from ehap.graph.layout import channels_last_
from ehap.models import build_model
from ehap.runtime.device import synchronize
from ehap.settings import Training
from ehap.settings.checks import Precision
from ehap.settings.machine import Step
from ehap.training.step import Stepper

INFO = DATASETS["cifar10"]
BATCH = 128
SECONDS_A_ROUND = 3.0
MOST_BATCHES = 390
Batches = Callable[[], Iterator[tuple[Tensor, Tensor]]]


@dataclass(frozen=True)
class Comparison:
    """Medians over rounds in which ours and the usual way take turns.

    ours, usual: Images a second. ratio: Median over rounds of ours / usual. data_share: Percent of our time for data.
    """

    subject: str
    ours: float
    usual: float
    ratio: float
    data_share: float


class UsualDataset(Dataset[tuple[Tensor, Tensor]]):
    """Images through PIL and the usual transforms, as from torchvision's CIFAR-10."""

    mean, std = INFO.mean, INFO.std

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        from torchvision import transforms

        self._pixels, self._labels = images.permute(0, 2, 3, 1).contiguous().numpy(), labels
        self._transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(self.mean, self.std),
            ]
        )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return one augmented, normalised image and its label."""
        from PIL import Image

        pixels: numpy.ndarray = self._pixels[index]
        return self._transform(Image.fromarray(pixels)), self._labels[index]


def random_images(count: int, device: torch.device) -> Split:
    """Return random images of CIFAR's shape; no time depends on their content."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, *CIFAR_SHAPE), dtype=torch.uint8, generator=generator)
    return images.to(device), torch.randint(INFO.classes, (count,), generator=generator).to(device)


def compare_augmentation(device: torch.device, workers: int, rounds: int, count: int = 10_000) -> Comparison:
    """Compare an epoch of batches without training."""
    ours, usual = _pipelines(random_images(count, device), device, workers)
    number = count // BATCH
    for batches in (ours, usual):
        _drawn(batches, 2, device)
    times = [(_drawn(ours, number, device), _drawn(usual, number, device)) for _ in range(rounds)]
    return _comparison(f"augmentation, {workers} workers", number * BATCH, times, 100.0)


def compare_training(
    model: str, device: torch.device, workers: int, rounds: int, precision: Precision = "fp32", step: Step = "eager"
) -> Comparison:
    """Compare whole training steps, data included; a warm-up sets the number of batches a round."""
    data = random_images(MOST_BATCHES * BATCH, device)
    take = stepper(model, device, precision, step)
    ours, usual = _pipelines(data, device, workers)
    _trained(take, ours, 2, device)
    _trained(take, usual, 1, device)
    number = max(1, min(MOST_BATCHES, int(SECONDS_A_ROUND / _trained(take, ours, 1, device))))
    times, shares = [], []
    for _ in range(rounds):
        mine = _trained(take, ours, number, device)
        shares.append(100 * _drawn(ours, number, device) / mine)
        times.append((mine, _trained(take, usual, number, device)))
    return _comparison(f"{model}, {precision}, {step}", number * BATCH, times, statistics.median(shares))


def training_rate(
    model: str, device: torch.device, precision: Precision, step: Step, seconds: float, warm: Callable[[], None]
) -> float:
    """Return the images a second of one training over some seconds; ``warm`` is called after its warm-up."""
    ours, _ = _pipelines(random_images(MOST_BATCHES * BATCH, device), device, 0)
    take = stepper(model, device, precision, step)
    _trained(take, ours, 2, device)
    a_second = int(1 / _trained(take, ours, 1, device))
    together = max(1, min(MOST_BATCHES, a_second))  # batches between two waits for the device
    warm()
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        _trained(take, ours, together, device)
        done += together
    return done * BATCH / (time.perf_counter() - began)


def stepper(model: str, device: torch.device, precision: Precision, step: Step) -> Stepper:
    """Return the training step of the pretrain stage, on new weights."""
    network = channels_last_(build_model(model, INFO.classes, seed=0).to(device)).train()
    settings = Training(epochs=1, learning_rate=1e-3, batch_size=BATCH, precision=precision)
    return Stepper(network, device, settings, step)


def _pipelines(data: Split, device: torch.device, workers: int) -> tuple[Batches, Batches]:
    generator = torch.Generator().manual_seed(0)

    def ours() -> Iterator[tuple[Tensor, Tensor]]:
        return training_batches(*data, INFO, BATCH, draw_epoch(data[0], generator, INFO.flip).to(device))

    loader = DataLoader(
        UsualDataset(data[0].cpu(), data[1].cpu()),
        batch_size=BATCH,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )

    def usual() -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in loader:
            yield images.to(device, non_blocking=True), labels.to(device, non_blocking=True)

    return ours, usual


def _drawn(batches: Batches, number: int, device: torch.device) -> float:
    return _seconds(partial(list, islice(_forgotten(batches()), number)), device)


def _forgotten(batches: Iterator[tuple[Tensor, Tensor]]) -> Iterator[None]:
    for _ in batches:
        yield None


def _trained(take: Stepper, batches: Batches, number: int, device: torch.device) -> float:
    def run() -> None:
        for images, labels in islice(batches(), number):
            take(images, labels)

    return _seconds(run, device)


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    synchronize(device)
    began = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - began


def _comparison(subject: str, images: int, times: list[tuple[float, float]], data_share: float) -> Comparison:
    ours, usual = (images / statistics.median(column) for column in zip(*times, strict=True))
    return Comparison(subject, ours, usual, statistics.median(other / mine for mine, other in times), data_share)
