"""The networks and noise that benchmarks start from."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.arguments import existing
from ehap.data import CIFAR_SHAPE
from ehap.errors import SettingsError
from ehap.models import build_model
from ehap.records import read_tensors

HELP = "weights of the pretrain stage, of the one model in --models; default: new weights"


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Add ``--checkpoint``, which may be left out."""
    parser.add_argument("--checkpoint", type=existing, metavar="FILE", help=HELP)


def check_models(checkpoint: Path | None, models: Sequence[str]) -> None:
    """Check that the weights belong to the models, if the file names its model.

    Raises:
        SettingsError: They belong to another model.
        CheckpointError: The file is damaged.
    """
    of = read_tensors(checkpoint)[1].get("model") if checkpoint else None
    others = [model for model in models if of is not None and model != of]
    if others:
        raise SettingsError(f"--checkpoint holds a {of}, --models names {', '.join(others)}; say --models {of}.")


def network_of(model: str, classes: int, checkpoint: Path | None) -> nn.Module:
    """Return a network in eval mode with the weights of a file, or with new ones."""
    network = build_model(model, classes, seed=0).eval()
    if checkpoint:
        network.load_state_dict(read_tensors(checkpoint)[0])
    return network


def noise(count: int, generator: torch.Generator | None = None) -> Tensor:
    """Return normal noise in the form of images, (count, 3, 32, 32); the same each time without a generator."""
    return torch.randn(count, *CIFAR_SHAPE, generator=generator or torch.Generator().manual_seed(0))
