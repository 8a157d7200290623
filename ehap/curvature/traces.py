"""The public functions for scores from derivatives."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from ehap.curvature.batch import checked_batch
from ehap.curvature.exact import Exact
from ehap.curvature.hutchinson import Hutchinson
from ehap.curvature.partial import Partial, image_sum, merge, sample_mean
from ehap.curvature.proof import check_scores
from ehap.curvature.stability import stability
from ehap.errors import ArchitectureError, SettingsError
from ehap.graph.layers import layer_weights
from ehap.runtime.checkpointing import NO_CHECKPOINTS, Checkpointer
from ehap.runtime.device import precision_context, synchronize
from ehap.runtime.memory import PeakMemory
from ehap.runtime.progress import logger, track
from ehap.settings import Trace
from ehap.settings.trace import Until

TracePlanner = Callable[[Mapping[str, Tensor]], Mapping[str, Sequence[int]]]
"""From traces (module path to (C_out,)) to the channels that a plan keeps (module path to indices)."""


@dataclass(frozen=True)
class ChannelTraces:
    """Trace of the Hessian block of each channel, other wanted scores, and their cost.

    scores: Criterion to module path to (C_out,) float64 on the CPU, in loss units (trace: per squared weight unit).
    errors: The standard errors of ``scores``; zero where exact, infinite after a single sample.
    samples: Random vectors used; 0 where exact.
    seconds, peak_memory_bytes: The cost; PeakMemory defines the memory on a CPU.
    repeated: Products that overflowed in FP16 and were repeated at a lower scale: one a micro-batch and try.
    overlap: The stability of the plan, where it was wanted.
    proofs: Comparisons on the first images. graph_difference: largest difference between the network and its traced
        graph, as a share of the largest output. Exact scores add two values. score_channels is the number of channels
        compared with plain autograd. score_difference is the largest difference, as a share of a layer's largest score.
    """

    scores: dict[str, dict[str, Tensor]]
    errors: dict[str, dict[str, Tensor]]
    samples: int
    seconds: float
    peak_memory_bytes: int
    repeated: int = 0
    overlap: float | None = None
    proofs: Mapping[str, float] = field(default_factory=dict)

    @property
    def trace(self) -> dict[str, Tensor]:
        """Module path to (C_out,) float64 on the CPU, in loss units per squared weight unit."""
        return self.scores["trace"]

    @property
    def standard_error(self) -> dict[str, Tensor]:
        """The standard errors of ``trace``."""
        return self.errors["trace"]


def channel_traces(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    settings: Trace,
    seed: int = 0,
    checkpointer: Checkpointer = NO_CHECKPOINTS,
    planner: TracePlanner | None = None,
) -> ChannelTraces:
    """Compute the Hessian trace of every channel of every convolution and linear layer.

    The Hessian is that of the mean cross-entropy over the given batch with the model in eval mode. Neither the
    model, its mode, its gradients nor the global random state are changed.

    Args:
        model: The network, on the device of the images.
        images: (N, 3, H, W), normalised.
        labels: (N,) int64.
        settings: Estimator, criteria, precision, samples, scale and micro-batch.
        seed: Seed of the random vectors; the same seed gives the same result on a CPU with the same thread count.
        checkpointer: Keeps the state when it is due; an estimate that continues from it equals an unbroken run.
        planner: With settings.until, returns the kept channels for traces; hutchinson ends when they are stable.

    Raises:
        DataError: The batch is empty, holds NaN, or does not fit the network.
        ArchitectureError: exact, and the network is not linear in each layer's weights.
        MismatchError: The traced graph and the network differ, or an exact score and its value by autograd.
        NumericsError: A sample holds NaN or Inf, as after FP16 overflow.
        StoppedError: The checkpointer was told to stop; the state is kept.
    """
    part = partial_traces(model, images, labels, settings, seed, checkpointer, planner)
    return merged_traces(model, [part], settings, len(images), planner)


def partial_traces(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    settings: Trace,
    seed: int = 0,
    checkpointer: Checkpointer = NO_CHECKPOINTS,
    planner: TracePlanner | None = None,
    shard: int = 0,
) -> Partial:
    """Compute one of ``settings.shards`` parts of the work; ``merged_traces`` makes traces of all of them.

    Args and errors as for ``channel_traces``; shard counts from 0.
    """
    labels = checked_batch(model, images, labels)
    if settings.until and planner is None:
        raise SettingsError(
            "until: stopping when the kept channels are stable needs a planner; give one, or leave until out."
        )
    proofs = {}
    if settings.estimator == "exact" and shard == 0:  # before long work starts
        with precision_context("fp32", images.device), _overwritten_named():
            proof = check_scores(model, images, labels, settings, seed)
        proofs = {"score_channels": float(proof.channels), "score_difference": proof.difference}
    with precision_context("fp32", images.device), PeakMemory(images.device) as memory, _overwritten_named():
        work: Exact | Hutchinson
        if settings.estimator == "exact":
            work = Exact(model, images, labels, settings, seed, (shard, settings.shards))
            label, steps = "chunks of images", work.chunks
        else:
            bounds = [settings.samples * number // settings.shards for number in (shard, shard + 1)]
            stable = _stable(model, settings, planner)
            work = Hutchinson(model, images, labels, settings, seed, range(*bounds), stable)
            label = "Hessian-vector products"
        checkpointer = _WithPeak(checkpointer, memory)
        state = checkpointer.read()
        if state is not None:
            work.restore(state)
        steps = work.chunks_to_do if isinstance(work, Exact) else work.passes_to_do
        for _ in track(work.run(checkpointer), label, steps):
            pass
        synchronize(images.device)
        part = work.result()
    if work.reading is not None:
        proofs["graph_difference"] = work.reading.difference
    return Partial(**vars(part) | {"peak_memory_bytes": max(memory.bytes, checkpointer.before), "proofs": proofs})


@contextmanager
def _overwritten_named() -> Iterator[None]:
    """Raise ArchitectureError where a network overwrites a tensor that autograd needs."""
    try:
        yield
    except RuntimeError as error:
        if "modified by an inplace operation" not in str(error):
            raise
        raise ArchitectureError(
            "the network overwrites a tensor from which derivatives are computed, as x += y does behind a ReLU; let it "
            "make a new one (x = x + y, inplace=False)."
        ) from None


def merged_traces(
    model: nn.Module, parts: Sequence[Partial], settings: Trace, images: int, planner: TracePlanner | None = None
) -> ChannelTraces:
    """Return the traces of all parts together; they equal those of one job bit for bit.

    Args:
        model: The network, for the names and widths of its layers.
        parts: The results of all shards.
        settings: Settings with which the parts were computed.
        images: Number of images in the whole Hessian batch.
        planner: See ``channel_traces``.

    Raises:
        DataError: A part is missing or given twice.
        NumericsError: A sample holds NaN or Inf.
    """
    whole = merge(parts)
    exact = settings.estimator == "exact"
    found = {name: image_sum(whole, name, images) if exact else sample_mean(rows) for name, rows in whole.rows.items()}
    overlap = None
    if settings.until and planner:
        overlap = _stability(model, whole.rows["trace"], planner, settings.until)
        if overlap < settings.until.overlap:
            logger.warning(
                "%d samples are not enough: the kept channels overlap by %.3f, not by %.3f; take more samples or "
                "estimator exact",
                *(len(whole), overlap, settings.until.overlap),
            )
    return ChannelTraces(
        scores={name: by_layer(model, score) for name, (score, _) in found.items()},
        errors={name: by_layer(model, error) for name, (_, error) in found.items()},
        samples=0 if exact else len(whole),
        seconds=whole.seconds,
        peak_memory_bytes=whole.peak_memory_bytes,
        repeated=whole.repeated,
        overlap=overlap,
        proofs=whole.proofs,
    )


def channel_scores(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *criteria: str,
    seed: int = 0,
    approximate: Literal["no", "gauss-newton"] = "no",
) -> dict[str, dict[str, Tensor]]:
    """Compute several scores of every channel, exactly and in one pass; config/SETTINGS.md lists the criteria.

    The short form of ``channel_traces`` with estimator exact, whose settings have all choices. Errors as there, and
    SettingsError for a criterion that needs no curvature.

    Returns:
        Criterion to module path to (C_out,) float64, in loss units (trace: per squared weight unit).
    """
    size = max(1, len(images))  # an empty batch is refused as such
    settings = Trace(batch_size=size, estimator="exact", criteria=criteria, approximate=approximate)
    return channel_traces(model, images, labels, settings, seed).scores


def by_layer(model: nn.Module, values: Tensor) -> dict[str, Tensor]:
    """Return (C,) for all channels in a row as module path to (C_out,) float64."""
    weights = layer_weights(model)
    parts = values.detach().double().cpu().split([weight.shape[0] for weight in weights.values()])
    return dict(zip(weights, (part.clone() for part in parts), strict=True))


class _WithPeak:
    """A Checkpointer that keeps the peak memory beside a state, for a job that continues."""

    def __init__(self, checkpointer: Checkpointer, memory: PeakMemory) -> None:
        self._checkpointer, self._memory, self.before = checkpointer, memory, 0

    def read(self) -> Any | None:
        found = self._checkpointer.read()
        if found is None:
            return None
        self.before = found["peak_memory_bytes"]
        return found["work"]

    def due(self) -> bool:
        return self._checkpointer.due()

    def write(self, state: Any) -> None:
        peak = max(self.before, self._memory.so_far())
        self._checkpointer.write({"work": state, "peak_memory_bytes": peak})


def _stable(model: nn.Module, settings: Trace, planner: TracePlanner | None) -> Callable[[Tensor], bool] | None:
    until = settings.until
    if until is None or planner is None:
        return None

    return lambda rows: _stability(model, rows, planner, until) >= until.overlap


def _stability(model: nn.Module, rows: Tensor, planner: TracePlanner, until: Until) -> float:
    widths = [weight.shape[0] for weight in layer_weights(model).values()]
    return stability(rows, lambda values: planner(by_layer(model, values)), until.confidence, widths)
