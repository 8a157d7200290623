"""A prepared dataset is the one of the job's cell, in the shape of its images."""

from pathlib import Path

import pytest
import torch

from ehap.artifacts.datasets import load_data
from ehap.errors import DataError
from ehap.records import Identity
from tests.jobs import job_of, write_images


@pytest.mark.parametrize(
    ("dataset", "shape", "message"),
    [
        ("cifar10", (3, 16, 16), "expected the dataset cifar10, got digits"),
        ("digits", (3, 32, 32), r"expected images of shape \(3, 16, 16\), got \(3, 32, 32\); run the stage prepare"),
    ],
)
def test_data_of_another_dataset_or_shape_is_refused(
    tmp_path: Path, dataset: str, shape: tuple[int, ...], message: str
) -> None:
    write_images(tmp_path / "data", 4, 4, shape)
    job = job_of(tmp_path, None, Identity(stage="evaluate", dataset=dataset), "data")
    with pytest.raises(DataError, match=message):
        load_data(job, torch.device("cpu"))
