"""Stage reconstruct: the pruned network brought near to the dense one on some images, without their labels."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ehap.artifacts.datasets import Data, load_data
from ehap.artifacts.dense import load_dense, save_model
from ehap.artifacts.fitting import write_history
from ehap.artifacts.job import Job
from ehap.artifacts.job_checkpoint import JobCheckpoint
from ehap.artifacts.pruned import check_order, load_model
from ehap.artifacts.repair_parts import Fitted, Part, State
from ehap.data import normalise
from ehap.errors import CheckpointError, DataError
from ehap.evaluation import accuracy
from ehap.graph import check_reading
from ehap.graph.layout import channels_last_
from ehap.graph.reading import EXAMPLES
from ehap.graph.union import unions_by_matrix
from ehap.records import Proof, Value, proof
from ehap.repair.distillation import agreement, distill
from ehap.repair.least_squares import LayerFit
from ehap.repair.reconstruction import reconstruct
from ehap.repair.unseen import Split, Unseen, relative_error, split_images, warn_if_worse
from ehap.runtime.progress import logger
from ehap.settings import Reconstruct
from ehap.training import Epoch

Values = dict[str, Value]


def run(job: Job[Reconstruct]) -> None:
    """Repair the pruned network of a cell; write its weights, the history of the distillation and the record.

    The input ``teacher`` is the dense network. The test images only measure: nothing is chosen by them.
    """
    device = job.device()
    data = load_data(job, device)
    network, structure = _load_pruned(job)
    network.to(device).eval()
    dense = load_dense(job.input("teacher"), job.identity).to(device).eval()
    images = _drawn(data.train[0], job.settings, job.identity.seed)
    repair = _Repair(job, dense, structure["kept"], data, images)
    with JobCheckpoint(job, device).listening() as states:
        state: State = states.read() or State()
        fitted = state.get("fitted")
        if fitted is None:
            network, fitted, reading = repair.fitted(network, Part(states, "fit", state.get("fit"), {}, device))
            states.write(State(fitted=fitted))
        else:
            network.load_state_dict(fitted["network"])
            reading = repair.reading()
        part = Part(states, "distillation", state.get("distillation"), State(fitted=fitted), device)
        epochs, of_steps = repair.distilled(network, part) if job.settings.distill_steps else ([], {})
    values = {name: Value(*pair) for name, pair in fitted["values"].items()} | of_steps
    values |= repair.judged(network, values)
    write_history(job.output("history"), epochs)
    job.write_record(_totals(values), device, {"graph": reading})
    save_model(job.output("checkpoint"), network, structure)
    states.remove()


def _load_pruned(job: Job[Reconstruct]) -> tuple[nn.Module, dict[str, Any]]:
    """Load the pruned network with its metadata; raise CheckpointError if it cannot be repaired."""
    path = job.input("pruned")
    network, structure = load_model(path, job.identity)
    check_order(path, structure)
    if structure["kept"] is None:
        raise CheckpointError(f"{path}: expected a pruned network, got a dense one; give the one from prune.")
    return network, structure


def _totals(values: Values) -> Values:
    """Return the values with seconds and peak memory of the whole repair in the place of the parts' memory."""
    left = {name: value for name, value in values.items() if not name.endswith("_memory")}
    times = [values[name].value for name in ("reconstruct_time", "distill_time") if name in values]
    peaks = [value.value for name, value in values.items() if name not in left]
    return {**left, "seconds": Value(sum(times), "s"), "peak_memory": Value(max(peaks), "bytes")}


@dataclass(frozen=True)
class _Repair:
    """The dense network and the images from which a pruned network learns; some of them only judge.

    kept: Layer to its kept channels. data: Prepared images on the device. images: Those that the repair sees, uint8.
    """

    job: Job[Reconstruct]
    dense: nn.Module
    kept: Mapping[str, list[int]]
    data: Data
    images: Tensor

    def reading(self) -> Proof:
        """Compare the dense network with its graph."""
        return proof(check_reading(self.dense, normalise(self.images[:EXAMPLES], self.data.info)))

    def fitted(self, network: nn.Module, part: Part) -> tuple[nn.Module, Fitted, Proof]:
        """Fit the layers by least squares, if the settings say so; return the network, the results and the reading."""
        values = {"images": Value(len(self.images), "images")}
        if self.job.settings.ridge is None:
            reading, of_fit = self.reading(), self._error("before", self._relative_error(network))
        else:
            network, of_fit, reading = self._least_squares(network, part)
        values |= of_fit
        state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        return network, Fitted(network=state, values={name: (v.value, v.unit) for name, v in values.items()}), reading

    def _least_squares(self, network: nn.Module, part: Part) -> tuple[nn.Module, Values, Proof]:
        settings = self.job.settings
        assert settings.ridge is not None
        with part.memory:
            inputs = normalise(self.images, self.data.info)
            how = settings.ridge, settings.positions or None, self.job.identity.seed, part
            found = reconstruct(self.dense, network, self.kept, inputs, *how, held_out=settings.held_out)
            del inputs
        for fit in found.fits:
            logger.info(
                "%s: %d unknowns, %d equations, relative error %.4f -> %.4f",
                *(fit.layer, fit.unknowns, fit.equations, fit.before, fit.after),
            )
        before, after = (found.unseen.before, found.unseen.after) if found.unseen else (math.inf, math.inf)
        values = {
            **self._error("before", before),
            "reconstruct_time": Value(found.seconds, "s"),
            "reconstruct_memory": part.peak(),
            "reconstructed_accuracy": Value(accuracy(found.network, self.data.test, self.data.info), "percent"),
            **_of_fits(found.fits),
            **self._error("reconstructed", after),
        }
        return found.network, values, proof(found.reading)

    def distilled(self, network: nn.Module, part: Part) -> tuple[list[Epoch], Values]:
        """Train the network, in place, towards the dense one's answers; return the history, and values of the steps."""
        info, seed, step = self.data.info, self.job.identity.seed, self.job.machine.step
        learnt = self.images[self._split().fitted.to(self.images.device)]
        for module in (self.dense, network):
            channels_last_(module)
        with part.memory, unions_by_matrix(network):
            epochs = distill(self.dense, network, learnt, info, self.job.settings, seed, part, step)
        return epochs, {
            "distill_time": Value(sum(epoch.seconds for epoch in epochs), "s"),
            "distill_memory": part.peak(),
            "distilled_accuracy": Value(accuracy(network, self.data.test, info), "percent"),
            "agreement": Value(agreement(self.dense, network, learnt, info), "percent"),
        }

    def judged(self, network: nn.Module, before: Values) -> Values:
        """Return the error after the whole repair; the log says if it is above the one before."""
        count = len(self._split().judging)
        after = self._error("after", self._relative_error(network))
        if "unseen_error_before" in before and after and "distilled_accuracy" in before:
            errors = before["unseen_error_before"].value / 100, after["unseen_error_after"].value / 100
            warn_if_worse(Unseen(count, *errors), "repair", "give more images, or fewer steps")
        return {"unseen_images": Value(count, "images"), **after}

    def _split(self) -> Split:
        return split_images(len(self.images), self.job.settings.held_out, self.job.identity.seed)

    def _relative_error(self, network: nn.Module) -> float:
        """Return the relative error of a network on the images that are held out; infinity where there are none."""
        split = self._split()
        shown = normalise(self.images[split.shown().to(self.images.device)], self.data.info)
        return relative_error(self.dense, network, shown, len(split.judging)) if len(split.judging) else math.inf

    @staticmethod
    def _error(when: str, error: float) -> Values:
        return {f"unseen_error_{when}": Value(100 * error, "percent")} if math.isfinite(error) else {}


def _drawn(images: Tensor, settings: Reconstruct, seed: int) -> Tensor:
    """Return the images that the repair sees; another seed or draw gives other images."""
    if settings.images > len(images):
        raise DataError(
            f"reconstruct.images: expected at most the {len(images)} training images, got {settings.images}."
        )
    generator = torch.Generator().manual_seed(seed)
    for _ in range(settings.draw + 1):  # not another seed: of those the generator takes 32 bits only
        order = torch.randperm(len(images), generator=generator)
    return images[order[: settings.images].to(images.device)]


def _of_fits(fits: Sequence[LayerFit]) -> Values:
    """Return how the fits went. The log and the record say where images are too few for a layer's unknowns."""
    few = [fit for fit in fits if fit.equations < fit.unknowns]
    if few:
        logger.warning(
            "%d of %d layers have fewer equations than unknowns (%s): only the ridge settles them, near their trained "
            "weights; give more images",
            *(len(few), len(fits), ", ".join(fit.layer for fit in few[:4])),
        )
    alike = [fit for fit in fits if fit.images < fit.unknowns <= fit.equations]
    if alike:
        logger.warning(
            "%d of %d layers have enough equations, but more unknowns than images (%s): positions of one image "
            "resemble each other; more images may help",
            *(len(alike), len(fits), ", ".join(fit.layer for fit in alike[:4])),
        )
    return {
        "underdetermined_layers": Value(len(few), "layers"),
        "least_equations_per_unknown": Value(min(fit.equations / fit.unknowns for fit in fits), "equations"),
        "least_images_per_unknown": Value(min(fit.images / fit.unknowns for fit in fits), "images"),
        "last_layer_error": Value(100 * fits[-1].after, "percent"),
    }
