"""What tests of stages share: a prepared dataset of a few random images."""

from pathlib import Path

import torch

from ehap.records import write_tensors


def write_images(path: Path, train: int, test: int) -> None:
    """Write a file as the prepare stage does, with random images under the name of digits."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for split, count in (("train", train), ("test", test)):
        tensors[f"{split}_images"] = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
        tensors[f"{split}_labels"] = torch.randint(10, (count,), generator=generator)
    write_tensors(path, tensors, {"dataset": "digits"})
