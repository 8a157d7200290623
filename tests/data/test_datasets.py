import hashlib
import pickle
from pathlib import Path

import numpy
import pytest
import torch
from torchvision.datasets import CIFAR10

from ehap.data import DATASETS, read_dataset
from ehap.errors import DataError


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in CIFAR-10's own format with 20 images a file, and torchvision told its checksums."""
    folder = tmp_path / "cifar10" / CIFAR10.base_folder
    folder.mkdir(parents=True)
    random = numpy.random.default_rng(0)

    def write(name: str, content: dict[str, object]) -> tuple[str, str]:
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return name, hashlib.md5(data).hexdigest()

    def batch(name: str) -> tuple[str, str]:
        pixels = random.integers(0, 256, (20, 3072), dtype=numpy.uint8)
        return write(name, {"data": pixels, "labels": [int(label) for label in random.integers(0, 10, 20)]})

    monkeypatch.setattr(CIFAR10, "train_list", [batch(f"data_batch_{number}") for number in range(1, 6)])
    monkeypatch.setattr(CIFAR10, "test_list", [batch("test_batch")])
    name, checksum = write("batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": checksum})
    return tmp_path


def test_digits_are_read_without_a_file() -> None:
    (train, train_labels), (test, test_labels) = read_dataset("digits", Path("nowhere"), download=False)
    assert train.shape == (1437, 3, 16, 16)
    assert (test.shape, train.dtype, test_labels.dtype) == ((360, 3, 16, 16), torch.uint8, torch.int64)
    shares = torch.bincount(train_labels) / len(train_labels) - torch.bincount(test_labels) / len(test_labels)
    assert shares.abs().max() < 0.01  # stratified
    info = DATASETS["digits"]
    pixels = train.float() / 255
    assert (round(pixels.mean().item(), 4), round(pixels.std().item(), 4)) == (info.mean[0], info.std[0])


@pytest.mark.parametrize("inner", [True, False])
def test_cifar_is_read_from_both_layouts(archive: Path, inner: bool) -> None:
    folder = archive if inner else archive / "cifar10"
    (train, labels), (test, _) = read_dataset("cifar10", folder, download=False)
    assert (train.shape, test.shape, labels.shape) == ((100, 3, 32, 32), (20, 3, 32, 32), (100,))
    stored = pickle.loads((archive / "cifar10" / CIFAR10.base_folder / "data_batch_1").read_bytes())
    assert train[0].numpy().tobytes() == stored["data"][0].tobytes()
    assert labels[:20].tolist() == stored["labels"]


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    message = "there is no folder cifar-100-python in .*; set machine.data_folder.*machine.download to true"
    with pytest.raises(DataError, match=message):
        read_dataset("cifar100", tmp_path, download=False)


def test_a_truncated_batch_is_named_with_its_checksum(archive: Path) -> None:
    path = archive / "cifar10" / CIFAR10.base_folder / "data_batch_3"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DataError, match=r"data_batch_3 is damaged: expected md5 \w{32}, got \w{32}"):
        read_dataset("cifar10", archive, download=False)


def test_a_missing_file_is_named(archive: Path) -> None:
    (archive / "cifar10" / CIFAR10.base_folder / "test_batch").unlink()
    with pytest.raises(DataError, match="test_batch is missing"):
        read_dataset("cifar10", archive, download=False)
