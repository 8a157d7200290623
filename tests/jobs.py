"""Jobs for tests of stages, in a folder with a few images and networks, without a workflow."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from ehap.artifacts.job import Files, Job
from ehap.data import DATASETS
from ehap.models.registry import MODELS
from ehap.models.resnet import ResNet
from ehap.records import Identity, write_tensors
from ehap.settings import Machine

DIGITS = DATASETS["digits"].input_shape
MACHINE = Machine(device="cpu")


def make_shallow_(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the ResNet-20 of this process one block a stage, not three: every kind of its layers, in less time."""
    monkeypatch.setitem(MODELS, "resnet20", partial(ResNet, 1))


def job_of(
    folder: Path, settings: Any, identity: Identity, inputs: str | Files = "", outputs: str | Files = "", **further: Any
) -> Job[Any]:
    """Return a job whose files lie in ``folder`` under their own names, where they are given as words."""
    files = (
        {name: folder / name for name in each.split()} if isinstance(each, str) else each for each in (inputs, outputs)
    )
    given, written = files
    return Job(identity=identity, settings=settings, inputs=given, outputs=written, **{"machine": MACHINE, **further})


def recorded(path: Path) -> dict[str, float]:
    """Return name to number of the values of a record."""
    return {name: item["value"] for name, item in json.loads(path.read_text())["values"].items()}


def write_images(path: Path, train: int, test: int, shape: tuple[int, ...] = DIGITS) -> None:
    """Write a file as the prepare stage does, with random images under the name of digits."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for split, count in (("train", train), ("test", test)):
        tensors[f"{split}_images"] = torch.randint(256, (count, *shape), dtype=torch.uint8, generator=generator)
        tensors[f"{split}_labels"] = torch.randint(10, (count,), generator=generator)
    write_tensors(path, tensors, {"dataset": "digits"})
