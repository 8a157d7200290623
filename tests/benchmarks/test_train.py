import pytest
import torch

from benchmarks import train_ways
from benchmarks.train_ways import UsualDataset, compare_augmentation, compare_training, random_images
from ehap.data import augment, draw_augmentation
from tests.jobs import make_shallow_

CPU = torch.device("cpu")


def test_the_usual_dataset_shows_the_same_images() -> None:
    """Its augmented images are crops that ours draws, too: every one is found among all offsets and mirrorings."""
    images, labels = random_images(4, CPU)
    usual = UsualDataset(images, labels)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([augment(images, *draw_augmentation(images, generator, flip=True)) for _ in range(2000)])
    for index in range(4):
        pixels, label = usual[index]
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (usual.mean, usual.std))
        raw = ((pixels * std + mean) * 255).round().to(torch.uint8)
        assert (drawn[:, index] == raw).flatten(1).all(1).any()
        assert label == labels[index]


def test_a_comparison_measures_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    make_shallow_(monkeypatch)
    monkeypatch.setattr(train_ways, "SECONDS_A_ROUND", 0.1)
    monkeypatch.setattr(train_ways, "MOST_BATCHES", 4)
    data = compare_augmentation(CPU, workers=0, rounds=1, count=512)
    assert data.ours > 0
    assert data.ratio == pytest.approx(data.ours / data.usual)
    steps = compare_training("resnet20", CPU, workers=0, rounds=1)
    assert 0 < steps.data_share < 100
    assert steps.usual > 0
