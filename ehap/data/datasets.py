"""The datasets: their sources, classes and normalisation."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ehap.errors import DataError
from ehap.runtime.extras import packages_named

if TYPE_CHECKING:  # importing torchvision takes two seconds, and only the prepare stage reads archives
    from torchvision.datasets import CIFAR10

Split = tuple[Tensor, Tensor]
CIFAR_SHAPE = (3, 32, 32)
DIGITS_SHAPE = (3, 16, 16)


@dataclass(frozen=True)
class DatasetInfo:
    """The constants of a dataset.

    mean, std: Per channel, of pixels in [0, 1].
    flip: Whether a mirrored image is still an image of its class.
    input_shape: (C, H, W) of an image.
    read: Returns the training and the test split, given the folder of the data and whether a download is allowed.
    """

    classes: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    flip: bool
    input_shape: tuple[int, int, int]
    read: Callable[[Path, bool], tuple[Split, Split]]

    crop: ClassVar[bool] = True


@dataclass(frozen=True)
class Normalised:
    """What stands in the place of a dataset's constants for images in floating point that are normalised already.

    padding: Value of each channel around an image that is cropped, usually that of black.
    crop, flip: Whether training images are cropped at random places, and half of them mirrored.
    """

    padding: tuple[float, ...]
    crop: bool
    flip: bool


ImageInfo = DatasetInfo | Normalised


def read_dataset(dataset: str, folder: Path, download: bool) -> tuple[Split, Split]:
    """Return the training and the test split: images (N, C, H, W) uint8 and labels (N,) int64.

    Args:
        dataset: A key of DATASETS.
        folder: Holds the unpacked CIFAR archives, directly or in a folder of the dataset's name.
        download: Whether a missing CIFAR may be fetched.

    Raises:
        DataError: Files are missing and may not be fetched, or a file has a wrong checksum.
        MissingPackageError: The reader's package is not installed.
    """
    with packages_named():
        return DATASETS[dataset].read(folder, download)


def _cifar(dataset: str, folder: Path, download: bool) -> tuple[Split, Split]:
    """Read CIFAR-10 or CIFAR-100, each file's checksum verified."""
    from torchvision.datasets import CIFAR10, CIFAR100

    reader = CIFAR10 if dataset == "cifar10" else CIFAR100
    root = _root(reader, dataset, folder)
    if not (root / reader.base_folder).is_dir() and not download:
        raise DataError(
            f"there is no folder {reader.base_folder} in {folder / dataset} or in {folder}; "
            "set machine.data_folder to the folder that holds it, or machine.download to true."
        )
    _check_files(reader, root, download)
    return _cifar_split(reader, root, True, download), _cifar_split(reader, root, False, download)


def _root(reader: "type[CIFAR10]", dataset: str, folder: Path) -> Path:
    return folder if (folder / reader.base_folder).is_dir() else folder / dataset


def _check_files(reader: "type[CIFAR10]", root: Path, download: bool) -> None:
    """Raise an error that names the first damaged file; torchvision names none."""
    from torchvision.datasets.utils import calculate_md5

    for name, expected in [*reader.train_list, *reader.test_list, (reader.meta["filename"], reader.meta["md5"])]:
        path = root / reader.base_folder / name
        if not path.is_file():
            if download:
                continue
            raise DataError(f"{path} is missing; restore it, or set machine.download to true.")
        found = calculate_md5(path)
        if found != expected:
            raise DataError(
                f"{path} is damaged: expected md5 {expected}, got {found} ({path.stat().st_size} bytes); "
                "delete it, then restore the original or set machine.download to true."
            )


def _cifar_split(reader: "type[CIFAR10]", root: Path, train: bool, download: bool) -> Split:
    try:
        split = reader(root=root, train=train, download=download)
    except (RuntimeError, OSError) as error:
        raise DataError(f"{reader.__name__} could not be read or downloaded into {root}: {error}") from error
    images = torch.from_numpy(numpy.ascontiguousarray(split.data.transpose(0, 3, 1, 2)))
    return images, torch.tensor(split.targets, dtype=torch.int64)


def _digits(_folder: Path, _download: bool) -> tuple[Split, Split]:
    """Return scikit-learn's 1,797 handwritten digits, scaled from 8×8 to 3×16×16; one in five is a test image."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, targets = load_digits(return_X_y=True)
    grey = torch.from_numpy(pixels).float().reshape(-1, 1, 8, 8) * (255 / 16)
    images = interpolate(grey, size=DIGITS_SHAPE[1:], mode="bilinear", align_corners=False).round().to(torch.uint8)
    images, labels = images.expand(-1, 3, -1, -1).contiguous(), torch.from_numpy(targets).long()
    train, test = train_test_split(range(len(labels)), test_size=0.2, random_state=0, stratify=targets)
    return (images[train], labels[train]), (images[test], labels[test])


DATASETS = {
    "cifar10": DatasetInfo(
        classes=10,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
        flip=True,
        input_shape=CIFAR_SHAPE,
        read=partial(_cifar, "cifar10"),
    ),
    "cifar100": DatasetInfo(
        classes=100,
        mean=(0.5071, 0.4867, 0.4408),
        std=(0.2675, 0.2565, 0.2761),
        flip=True,
        input_shape=CIFAR_SHAPE,
        read=partial(_cifar, "cifar100"),
    ),
    "digits": DatasetInfo(
        classes=10,
        mean=(0.3054, 0.3054, 0.3054),
        std=(0.3186, 0.3186, 0.3186),
        flip=False,
        input_shape=DIGITS_SHAPE,
        read=_digits,
    ),
}
