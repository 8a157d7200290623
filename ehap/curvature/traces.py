"""The one door to channel traces."""

from dataclasses import dataclass

from torch import Tensor, nn

from ehap.curvature.hutchinson import Hutchinson
from ehap.curvature.products import channel_weights
from ehap.errors import DataError
from ehap.runtime import KEEP_NOTHING, Keeper, PeakMemory, synchronize, track
from ehap.settings import Trace


@dataclass(frozen=True)
class ChannelTraces:
    """Trace of the Hessian block of each channel.

    trace: Parameter name to (C_out,) float32 on the CPU, in loss units per squared weight unit.
    standard_error: Same names and shapes; infinite after a single sample.
    samples: Random vectors used.
    seconds, peak_memory_bytes: What it cost; see PeakMemory for what is counted on a CPU.
    """

    trace: dict[str, Tensor]
    standard_error: dict[str, Tensor]
    samples: int
    seconds: float
    peak_memory_bytes: int


def channel_traces(
    model: nn.Module, images: Tensor, labels: Tensor, settings: Trace, seed: int = 0, keeper: Keeper = KEEP_NOTHING
) -> ChannelTraces:
    """Compute the Hessian trace of every channel of every convolution and linear layer.

    The Hessian is that of the mean cross-entropy over the given batch with the model in eval mode. Neither the
    model's mode, its gradients nor the global random state are changed.

    Args:
        model: On the device of the images.
        images: (N, 3, H, W), normalised.
        labels: (N,) int64.
        settings: Estimator, precision, samples, scale and micro-batch.
        seed: Of the random vectors; the same seed gives the same result on a CPU with the same thread count.
        keeper: Keeps the state when it is due; an estimate that goes on from it is that of an unbroken run.

    Raises:
        DataError: The batch is empty or holds NaN.
        NumericsError: A sample holds NaN or Inf, as after FP16 overflow.
        StoppedError: The keeper was told to stop; the state is kept.
    """
    if not len(images) or not images.isfinite().all():
        raise DataError(
            f"expected a Hessian batch of finite images, got {len(images)} images, some NaN or none at all."
        )
    weights = channel_weights(model)
    modes = {module: module.training for module in model.modules()}
    model.eval()
    synchronize(images.device)
    try:
        with PeakMemory(images.device) as memory:
            estimate = Hutchinson(model, images, labels, settings, seed)
            state = keeper.read()
            if state is not None:
                estimate.restore(state)
            for _ in track(estimate.run(keeper), "Hessian-vector products", estimate.passes_to_do):
                pass
            mean, error = estimate.result()
            synchronize(images.device)
    finally:
        for module, training in modes.items():
            module.training = training
    traces, errors = _by_layer(mean, weights), _by_layer(error, weights)
    return ChannelTraces(traces, errors, settings.samples, estimate.seconds, memory.bytes)


def _by_layer(values: Tensor, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    parts = values.detach().cpu().split([weight.shape[0] for weight in weights.values()])
    return dict(zip(weights, (part.clone() for part in parts), strict=True))
