"""Accuracy of a pruned network at every step of its recovery: recalibration, repair, fine-tuning."""

import copy
import time
from pathlib import Path

import torch
from torch import nn

from benchmarks.benchmark import Row
from ehap.data import DATASETS, normalise
from ehap.errors import DataError
from ehap.evaluation import accuracy
from ehap.graph.channels import Kept
from ehap.graph.layout import channels_last_
from ehap.graph.union import unions_by_matrix
from ehap.models import build_model
from ehap.records import read_tensors
from ehap.repair.distillation import distill
from ehap.repair.reconstruction import reconstruct
from ehap.runtime.device import synchronize
from ehap.settings import Finetune, Reconstruct
from ehap.training import RECALIBRATION_IMAGES, fit, recalibrate_


class Recovery:
    """A trained network, its images, and the steps after a pruning.

    Args:
        checkpoint: Weights of the pretrain stage.
        data: Images of the prepare stage.
        device: Device of the recovery; the network is pruned on the CPU.
        settings: Settings of fine-tuning.
        repair_images: Training images for a repair without labels; 0: no repair.
        seed: Seed of all draws.

    Attributes:
        dense: The network, on the CPU. plain_images: Training images (N, 3, 32, 32) uint8 and labels, on the CPU.
        seen: Images of the repair, on the device. dense_accuracy: In percent.
    """

    def __init__(
        self, checkpoint: Path, data: Path, device: torch.device, settings: Finetune, repair_images: int, seed: int
    ) -> None:
        weights, about = read_tensors(checkpoint)
        tensors, images = read_tensors(data)
        if images["dataset"] != about["dataset"]:
            raise DataError(f"{checkpoint} was trained on {about['dataset']}, but {data} holds {images['dataset']}.")
        self.model, self.dataset, self.info = about["model"], about["dataset"], DATASETS[about["dataset"]]
        self.dense = build_model(self.model, self.info.classes)
        self.dense.load_state_dict(weights)
        self.plain_images = tensors["train_images"], tensors["train_labels"]
        self._train = self.plain_images[0].to(device), self.plain_images[1].to(device)
        self._test = tensors["test_images"].to(device), tensors["test_labels"].to(device)
        order = torch.randperm(len(self._train[0]), generator=torch.Generator().manual_seed(seed))
        self.seen = self._train[0][order[:repair_images]]
        self._repair = Reconstruct(images=repair_images, precision=settings.precision) if repair_images else None
        self._settings, self._device, self._seed = settings, device, seed
        self._teacher = copy.deepcopy(self.dense).to(device).eval()
        self.dense_accuracy = self._accuracy(self._teacher)

    def steps(self, network: nn.Module, kept: Kept | None) -> Row:
        """Return the columns of accuracy, in percent; the network moves to the device and is trained.

        Args:
            network: Pruned.
            kept: Its plan; None for a network of another library, which least squares cannot repair.
        """
        channels_last_(network.to(self._device))
        with unions_by_matrix(network):
            row: Row = {"right_after_pruning": round(self._accuracy(network), 2)}
            before = {key: value.clone() for key, value in network.state_dict().items()}
            recalibrate_(network, self._train[0], self.info, RECALIBRATION_IMAGES, self._seed)
            row["recalibrated"] = round(self._accuracy(network), 2)
            network.load_state_dict(before)
            if self._repair is not None:
                row |= self._without_labels(network, kept)
                network.load_state_dict(before)
            history = fit(network, self._train, self.info, self._settings, self._seed, self._accuracy)
        return row | ({"fine_tuned": round(history[-1].test_accuracy, 2)} if history else {})

    def _accuracy(self, network: nn.Module) -> float:
        return accuracy(network, self._test, self.info)

    def _without_labels(self, network: nn.Module, kept: Kept | None) -> Row:
        """Return accuracy after distillation alone, and for ours after reconstruction and after both."""
        fresh = copy.deepcopy(network)
        found: Row = {}
        if kept is not None:
            began = time.perf_counter()
            images = normalise(self.seen, self.info)
            fitted = reconstruct(self._teacher, network, kept, images, seed=self._seed, held_out=0).network
            synchronize(self._device)
            seconds = time.perf_counter() - began
            found["reconstructed"] = round(self._accuracy(fitted), 2)
            began = time.perf_counter()
            self._distill(fitted)
            synchronize(self._device)
            found["seconds_to_repair"] = round(seconds + time.perf_counter() - began, 1)
            found["reconstructed_and_distilled"] = round(self._accuracy(fitted), 2)
        self._distill(fresh)
        return found | {"distilled": round(self._accuracy(fresh), 2)}

    def _distill(self, network: nn.Module) -> None:
        """Train a network, in place, towards the dense network's answers on the images of the repair."""
        assert self._repair is not None
        channels_last_(network)
        with unions_by_matrix(network):
            distill(self._teacher, network, self.seen, self.info, self._repair, self._seed)
