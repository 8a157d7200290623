"""Stage reconstruct: the pruned network brought near to the dense one on some images, without their labels."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from ehap.artifacts.datasets import Data, load_data
from ehap.artifacts.dense import load_dense, save_model
from ehap.artifacts.fitting import write_history
from ehap.artifacts.job_checkpoint import JobCheckpoint
from ehap.artifacts.pruned import check_order, load_model
from ehap.data import DatasetInfo, normalise
from ehap.errors import CheckpointError, DataError
from ehap.evaluation import accuracy
from ehap.graph import check_reading
from ehap.graph.layout import channels_last_
from ehap.graph.reading import EXAMPLES
from ehap.graph.union import unions_by_matrix
from ehap.records import Job, Value, proof, write_record
from ehap.repair.distillation import agreement, distill
from ehap.repair.least_squares import LayerFit
from ehap.repair.reconstruction import reconstruct
from ehap.repair.unseen import Split, Unseen, relative_error, split_images, warn_if_worse
from ehap.runtime.checkpointing import Checkpointer
from ehap.runtime.device import choose_device
from ehap.runtime.memory import PeakMemory
from ehap.runtime.progress import logger
from ehap.settings import Machine, Reconstruct
from ehap.training import Epoch

Values = dict[str, Value]


def run(
    data: Path,
    teacher: Path,
    pruned: Path,
    checkpoint: Path,
    history: Path,
    record: Path,
    job: Job,
    settings: Reconstruct,
    machine: Machine,
    states: Path | None = None,
) -> None:
    """Repair the pruned network of a cell; its weights, the history of the distillation and the record are written.

    ``teacher`` is the dense network. The test images only measure: nothing is chosen by them.
    """
    device = choose_device(machine.device, machine.threads)
    loaded = load_data(data, job, device)
    network, structure = load_model(pruned, job)
    check_order(pruned, structure)
    if structure["kept"] is None:
        raise CheckpointError(f"{pruned}: expected a pruned network, got a dense one; give the one from prune.")
    dense = load_dense(teacher, job).to(device).eval()
    network.to(device).eval()
    images = _drawn(loaded.train[0], settings, job.seed)
    proofs = {"graph": proof(check_reading(dense, normalise(images[:EXAMPLES], loaded.info)))}
    split = split_images(len(images), settings.held_out, job.seed)
    judge = _Judge(dense, images, split, loaded.info)
    states_of_job = JobCheckpoint(
        states, job, settings, [data, teacher, pruned], device, machine.seconds_between_states
    )
    with states_of_job.listening():
        state: State = states_of_job.read() or State()
        fitted = state.get("fitted")
        if fitted is None:
            values = {"images": Value(len(images), "images"), **judge.error("before", network)}
            if settings.ridge is not None:
                part = _Part(states_of_job, "fit", state.get("fit"), {}, device)
                network, of_fit = _fitted(dense, network, structure["kept"], images, loaded, settings, job.seed, part)
                values |= of_fit | judge.error("reconstructed", network)
            fitted = _Fitted(
                network={name: tensor.clone() for name, tensor in network.state_dict().items()},
                values={name: (item.value, item.unit) for name, item in values.items()},
            )
            states_of_job.write(State(fitted=fitted))
        else:
            network.load_state_dict(fitted["network"])
            values = {name: Value(*pair) for name, pair in fitted["values"].items()}
        epochs: list[Epoch] = []
        if settings.distill_steps:
            part = _Part(states_of_job, "distillation", state.get("distillation"), State(fitted=fitted), device)
            learnt = images[split.fitted.to(device)]
            epochs, of_steps = _distilled(dense, network, learnt, loaded, settings, job.seed, part, machine)
            values |= of_steps
    values |= judge.whole(network, values)
    times = [values[name].value for name in ("reconstruct_time", "distill_time") if name in values]
    peaks = [values.pop(name).value for name in ("reconstruct_memory", "distill_memory") if name in values]
    values |= {"seconds": Value(sum(times), "s"), "peak_memory": Value(max(peaks), "bytes")}
    write_history(history, epochs)
    write_record(record, job, values, settings, device, proofs)
    save_model(checkpoint, network, structure)
    states_of_job.remove()


class _Judge:
    """What networks are worth on the images that the repair does not learn from."""

    def __init__(self, dense: nn.Module, images: Tensor, split: Split, info: DatasetInfo) -> None:
        self._dense, self._count = dense, len(split.judging)
        self._images = normalise(images[split.shown().to(images.device)], info)

    def error(self, when: str, network: nn.Module) -> Values:
        """Return the relative error of a network as a value; nothing where no image is held out."""
        error = 100 * relative_error(self._dense, network, self._images, self._count) if self._count else math.inf
        return {f"unseen_error_{when}": Value(error, "percent")} if math.isfinite(error) else {}

    def whole(self, network: nn.Module, before: Values) -> Values:
        """Return the error after the whole repair, and of how many images; the log says if it is above that before."""
        after = self.error("after", network)
        if "unseen_error_before" in before and after and "distilled_accuracy" in before:
            errors = before["unseen_error_before"].value / 100, after["unseen_error_after"].value / 100
            warn_if_worse(Unseen(self._count, *errors), "repair", "give more images, or fewer steps")
        return {"unseen_images": Value(self._count, "images"), **after}


class _Fitted(TypedDict):
    """What is known when no layer is left to fit: the network's state dict, and name to (value, unit)."""

    network: dict[str, Tensor]
    values: dict[str, tuple[float, str]]


class _OfPart(TypedDict):
    """The state of a part of the work, and the most memory, in bytes, that it has held so far."""

    state: Any
    peak: int


class State(TypedDict, total=False):
    """What a repair needs to go on.

    fit: Of the least squares, where they are under way. fitted: What is known after them. distillation: Its state.
    """

    fit: _OfPart
    fitted: _Fitted
    distillation: _OfPart


class _Part:
    """The Checkpointer of a part of the work, and the meter of its memory, over all its breaks.

    Its states lie, under its name, beside what is known from before it.
    """

    def __init__(
        self, checkpointer: Checkpointer, name: str, found: _OfPart | None, beside: State, device: torch.device
    ) -> None:
        self._keeper, self._name, self._found, self._beside = checkpointer, name, found, beside
        self.memory = PeakMemory(device)

    def read(self) -> Any | None:
        """Return the state of this part."""
        return None if self._found is None else self._found["state"]

    def due(self) -> bool:
        """Return whether a state should be kept now."""
        return self._keeper.due()

    def write(self, state: Any) -> None:
        """Keep a state of this part."""
        self._keeper.write({**self._beside, self._name: _OfPart(state=state, peak=self._peak(self.memory.so_far()))})

    def peak(self) -> Value:
        """Return the most memory that was held, after the block of ``memory``."""
        return Value(self._peak(self.memory.bytes), "bytes")

    def _peak(self, now: int) -> int:
        return now if self._found is None else max(now, self._found["peak"])


def _drawn(images: Tensor, settings: Reconstruct, seed: int) -> Tensor:
    """Return the images that the repair sees: others for another seed or draw."""
    if settings.images > len(images):
        raise DataError(
            f"reconstruct.images: expected at most the {len(images)} training images, got {settings.images}."
        )
    generator = torch.Generator().manual_seed(seed)
    for _ in range(settings.draw + 1):  # not another seed: of those the generator takes 32 bits only
        order = torch.randperm(len(images), generator=generator)
    return images[order[: settings.images].to(images.device)]


def _fitted(
    dense: nn.Module,
    network: nn.Module,
    kept: Mapping[str, list[int]],
    images: Tensor,
    loaded: Data,
    settings: Reconstruct,
    seed: int,
    part: _Part,
) -> tuple[nn.Module, Values]:
    """Return the network with its layers fitted by least squares, and what it took and gave."""
    assert settings.ridge is not None
    with part.memory:
        inputs = normalise(images, loaded.info)
        how = settings.ridge, settings.positions or None, seed, part
        found = reconstruct(dense, network, kept, inputs, *how, held_out=settings.held_out)
        del inputs
    for fit in found.fits:
        logger.info(
            "%s: %d unknowns, %d equations, relative error %.4f -> %.4f",
            *(fit.layer, fit.unknowns, fit.equations, fit.before, fit.after),
        )
    return found.network, {
        "reconstruct_time": Value(found.seconds, "s"),
        "reconstruct_memory": part.peak(),
        "reconstructed_accuracy": Value(accuracy(found.network, loaded.test, loaded.info), "percent"),
        **_of_fits(found.fits),
    }


def _of_fits(fits: Sequence[LayerFit]) -> Values:
    """Return how the fits went; where images are too few for a layer's unknowns, the log and the record say so."""
    few = [fit for fit in fits if fit.equations < fit.unknowns]
    if few:
        logger.warning(
            "%d of %d layers have fewer equations than unknowns, and stay near their trained weights by the ridge "
            "alone (%s); more images would help",
            *(len(few), len(fits), ", ".join(fit.layer for fit in few[:4])),
        )
    alike = [fit for fit in fits if fit.images < fit.unknowns <= fit.equations]
    if alike:
        logger.warning(
            "%d of %d layers have enough equations, but more unknowns than there are images, whose positions resemble "
            "each other (%s); more images may help",
            *(len(alike), len(fits), ", ".join(fit.layer for fit in alike[:4])),
        )
    return {
        "underdetermined_layers": Value(len(few), "layers"),
        "least_equations_per_unknown": Value(min(fit.equations / fit.unknowns for fit in fits), "equations"),
        "least_images_per_unknown": Value(min(fit.images / fit.unknowns for fit in fits), "images"),
        "last_layer_error": Value(100 * fits[-1].after, "percent"),
    }


def _distilled(
    dense: nn.Module,
    network: nn.Module,
    images: Tensor,
    loaded: Data,
    settings: Reconstruct,
    seed: int,
    part: _Part,
    machine: Machine,
) -> tuple[list[Epoch], Values]:
    """Train the network, in place, towards the dense one's answers; return the history, and what it took and gave."""
    for module in (dense, network):
        channels_last_(module)
    with part.memory, unions_by_matrix(network):
        epochs = distill(dense, network, images, loaded.info, settings, seed, part, machine.step)
    return epochs, {
        "distill_time": Value(sum(epoch.seconds for epoch in epochs), "s"),
        "distill_memory": part.peak(),
        "distilled_accuracy": Value(accuracy(network, loaded.test, loaded.info), "percent"),
        "agreement": Value(agreement(dense, network, images, loaded.info), "percent"),
    }
