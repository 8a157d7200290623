"""Datasets as uint8 tensors, and their batches."""

from ehap.data.batches import (
    augment,
    draw_augmentation,
    draw_epoch,
    hessian_batch,
    normalise,
    plain_batches,
    training_batches,
)
from ehap.data.datasets import CIFAR_SHAPE, DATASETS, DatasetInfo, ImageInfo, Normalised, Split, read_dataset

__all__ = [
    "CIFAR_SHAPE",
    "DATASETS",
    "DatasetInfo",
    "ImageInfo",
    "Normalised",
    "Split",
    "augment",
    "draw_augmentation",
    "draw_epoch",
    "hessian_batch",
    "normalise",
    "plain_batches",
    "read_dataset",
    "training_batches",
]
