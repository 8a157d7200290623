"""The one door to channel curvature."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ehap.curvature.exact import Exact
from ehap.curvature.frozen import channel_weights
from ehap.curvature.hutchinson import Hutchinson
from ehap.curvature.partial import Partial, image_sum, merge, sample_mean
from ehap.curvature.proof import check_scores
from ehap.curvature.stability import stability
from ehap.errors import ArchitectureError, DataError, NumericsError, SettingsError
from ehap.models.tracing import check_readable
from ehap.runtime import KEEP_NOTHING, Keeper, PeakMemory, logger, precision_context, synchronize, track
from ehap.settings import Trace
from ehap.settings.trace import Curvature, Until

Planner = Callable[[Mapping[str, Tensor]], Mapping[str, Sequence[int]]]
"""From traces (parameter name to (C_out,)) to the channels that would be kept (layer name to indices)."""


@dataclass(frozen=True)
class ChannelTraces:
    """Trace of the Hessian block of each channel, and what else was asked for.

    scores: Criterion to parameter name to (C_out,) float64 on the CPU, in loss units (trace: per squared weight unit).
    errors: The standard errors of ``scores``; zero where exact, infinite after a single sample.
    samples: Random vectors used; 0 where exact.
    seconds, peak_memory_bytes: What it cost; see PeakMemory for what is counted on a CPU.
    repeated: Products that overflowed in FP16 and were repeated at a lower scale: one a micro-batch and try.
    overlap: What the planner's stability came to, where one was asked for.
    proofs: Shown on the first images: graph_difference, the largest one between the network and what was read off it,
        as a share of the largest output; of exact scores also score_channels, which were computed by plain autograd,
        too, and score_difference, the largest one as a share of a layer's largest score.
    """

    scores: dict[Curvature, dict[str, Tensor]]
    errors: dict[Curvature, dict[str, Tensor]]
    samples: int
    seconds: float
    peak_memory_bytes: int
    repeated: int = 0
    overlap: float | None = None
    proofs: Mapping[str, float] = field(default_factory=dict)

    @property
    def trace(self) -> dict[str, Tensor]:
        """Parameter name to (C_out,) float64 on the CPU, in loss units per squared weight unit."""
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
    keeper: Keeper = KEEP_NOTHING,
    planner: Planner | None = None,
) -> ChannelTraces:
    """Compute the Hessian trace of every channel of every convolution and linear layer.

    The Hessian is that of the mean cross-entropy over the given batch with the model in eval mode. Neither the
    model, its mode, its gradients nor the global random state are changed.

    Args:
        model: On the device of the images.
        images: (N, 3, H, W), normalised.
        labels: (N,) int64.
        settings: Estimator, criteria, precision, samples, scale and micro-batch.
        seed: Of the random vectors; the same seed gives the same result on a CPU with the same thread count.
        keeper: Keeps the state when it is due; an estimate that goes on from it is that of an unbroken run.
        planner: With settings.until, says which channels traces would keep; hutchinson ends when that is stable.

    Raises:
        DataError: The batch is empty or holds NaN, or is not what the network takes.
        ArchitectureError: exact, and the network is not linear in each layer's weights.
        MismatchError: What was read off the network is not what it computes, or an exact score is not that by autograd.
        NumericsError: A sample holds NaN or Inf, as after FP16 overflow.
        StoppedError: The keeper was told to stop; the state is kept.
    """
    part = partial_traces(model, images, labels, settings, seed, keeper, planner)
    return merged_traces(model, [part], settings, len(images), planner)


def partial_traces(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    settings: Trace,
    seed: int = 0,
    keeper: Keeper = KEEP_NOTHING,
    planner: Planner | None = None,
    shard: int = 0,
) -> Partial:
    """Compute one of ``settings.shards`` parts of the work; ``merged_traces`` makes traces of all of them.

    Args and errors as for ``channel_traces``; shard counts from 0.
    """
    labels = _checked_batch(model, images, labels)
    if settings.until and planner is None:
        raise SettingsError(
            "until: stopping when the kept channels are stable needs a planner; give one, or leave until out."
        )
    with precision_context("fp32", images.device), PeakMemory(images.device) as memory:
        work: Exact | Hutchinson
        if settings.estimator == "exact":
            work = Exact(model, images, labels, settings, seed, (shard, settings.shards))
            label, steps = "chunks of images", work.chunks
        else:
            bounds = [settings.samples * number // settings.shards for number in (shard, shard + 1)]
            stable = _stable(model, settings, planner)
            work = Hutchinson(model, images, labels, settings, seed, range(*bounds), stable)
            label = "Hessian-vector products"
        keeper = _WithPeak(keeper, memory)
        state = keeper.read()
        if state is not None:
            work.restore(state)
        steps = work.chunks_to_do if isinstance(work, Exact) else work.passes_to_do
        for _ in track(work.run(keeper), label, steps):
            pass
        synchronize(images.device)
        part = work.result()
    proofs = {}
    if isinstance(work, Exact) and shard == 0:
        with precision_context("fp32", images.device):
            proof = check_scores(model, images, labels, settings, seed)
        proofs = {"score_channels": float(proof.channels), "score_difference": proof.difference}
    if work.reading is not None:
        proofs["graph_difference"] = work.reading.difference
    return Partial(**vars(part) | {"peak_memory_bytes": max(memory.bytes, keeper.before), "proofs": proofs})


def merged_traces(
    model: nn.Module, parts: Sequence[Partial], settings: Trace, images: int, planner: Planner | None = None
) -> ChannelTraces:
    """Return the traces that all parts of the work amount to; bit for bit those of one job.

    Args:
        model: The network, for the names and widths of its layers.
        parts: Of every shard.
        settings: As the parts were computed with.
        images: Of the whole Hessian batch.
        planner: As for ``channel_traces``.

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
    *criteria: Curvature,
    seed: int = 0,
    approximate: Literal["no", "gauss-newton"] = "no",
) -> dict[Curvature, dict[str, Tensor]]:
    """Compute several scores of every channel, exactly and in one pass; see Curvature for what each is.

    The short form of ``channel_traces`` with estimator exact, whose settings have all choices. Errors as there, and
    SettingsError for a criterion that is none of Curvature.

    Returns:
        Criterion to parameter name to (C_out,) float64, in loss units (trace: per squared weight unit).
    """
    size = max(1, len(images))  # an empty batch is refused as such
    settings = Trace(batch_size=size, estimator="exact", criteria=criteria, approximate=approximate)
    return channel_traces(model, images, labels, settings, seed).scores


@torch.no_grad()
def _checked_batch(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the labels in int64, if network and batch go together.

    Images are finite, and each has, alone, one row of logits and one label.
    """
    check_readable(model)
    if not isinstance(images, Tensor) or not isinstance(labels, Tensor) or not images.is_floating_point():
        kinds = [str(each.dtype) if isinstance(each, Tensor) else type(each).__name__ for each in (images, labels)]
        raise DataError(
            f"expected tensors, images normalised in floating point and labels in int64, got {' and '.join(kinds)}."
        )
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise DataError(
            f"expected labels as whole numbers, in int64, got {labels.dtype}; give labels.long() if they are classes."
        )
    labels = labels.long()
    if not len(images) or not images.isfinite().all():
        raise DataError(
            f"expected a Hessian batch of finite images, got {len(images)} images, some NaN or none at all."
        )
    if not channel_weights(model):
        raise ArchitectureError("expected a network with at least one convolution or linear layer.")
    broken = [name for name, tensor in model.state_dict().items() if not tensor.isfinite().all()]
    if broken:
        raise NumericsError(f"{broken[0]} holds NaN or Inf; expected a network whose training did not diverge.")
    quiet, pair = copy.deepcopy(model).eval(), images[:2]
    try:
        together, alone = quiet(pair), [quiet(image.unsqueeze(0)) for image in pair]
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        kind = next(model.parameters()).dtype
        raise DataError(
            f"the network, in {kind}, cannot take images {tuple(images.shape[1:])} of {images.dtype} on "
            f"{images.device} ({str(error).splitlines()[0][:160]}); give images of its shape and type, on its device."
        ) from None
    if not isinstance(together, Tensor) or together.dim() != 2:  # noqa: PLR2004 (images, classes)
        shape = tuple(together.shape) if isinstance(together, Tensor) else type(together).__name__
        raise ArchitectureError(f"expected logits of shape (images, classes), got {shape}.")
    if not together.isfinite().all():
        raise NumericsError("the logits hold NaN or Inf; check the network and the normalisation of the images.")
    apart = torch.cat(alone)
    if together.shape != apart.shape or not torch.allclose(together, apart, 1e-2, 1e-3 * float(apart.abs().max())):
        raise ArchitectureError(
            "expected a network in which images of a batch do not influence each other in eval mode; the logits of two "
            "images together are not those of each alone."
        )
    classes = together.shape[1]
    if labels.shape != images.shape[:1] or bool((labels < 0).any()) or bool((labels >= classes).any()):
        raise DataError(
            f"expected one label from 0 to {classes - 1} for each of {len(images)} images, got labels of shape "
            f"{tuple(labels.shape)} from {int(labels.min())} to {int(labels.max())}."
        )
    return labels


def by_layer(model: nn.Module, values: Tensor) -> dict[str, Tensor]:
    """Return (C,) for all channels in a row as parameter name to (C_out,) float64."""
    weights = channel_weights(model)
    parts = values.detach().double().cpu().split([weight.shape[0] for weight in weights.values()])
    return dict(zip(weights, (part.clone() for part in parts), strict=True))


class _WithPeak:
    """A Keeper that keeps the peak memory beside a state, so that a job that goes on near its end knows it."""

    def __init__(self, keeper: Keeper, memory: PeakMemory) -> None:
        self._keeper, self._memory, self.before = keeper, memory, 0

    def read(self) -> Any | None:
        found = self._keeper.read()
        if found is None:
            return None
        self.before = found["peak_memory_bytes"]
        return found["work"]

    def due(self) -> bool:
        return self._keeper.due()

    def write(self, state: Any) -> None:
        peak = max(self.before, self._memory.so_far())
        self._keeper.write({"work": state, "peak_memory_bytes": peak})


def _stable(model: nn.Module, settings: Trace, planner: Planner | None) -> Callable[[Tensor], bool] | None:
    until = settings.until
    if until is None or planner is None:
        return None

    return lambda rows: _stability(model, rows, planner, until) >= until.overlap


def _stability(model: nn.Module, rows: Tensor, planner: Planner, until: Until) -> float:
    widths = [weight.shape[0] for weight in channel_weights(model).values()]
    return stability(rows, lambda values: planner(by_layer(model, values)), until.confidence, widths)
