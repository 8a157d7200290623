"""Networks that round as integers do: calibrated on some images, or ready for a training loop."""

import torch
from torch import Tensor, nn

from ehap.curvature import channel_scores
from ehap.errors import ArgumentError, SettingsError
from ehap.graph.reading import EXAMPLES, evaluating, output_of
from ehap.interface.arguments import Images, checked_network, gathered
from ehap.quantization import SimulatedNetwork, calibrate_on_batches_, mixed_bits, pack, unpack
from ehap.quantization import prepare_qat as prepared
from ehap.quantization.calibration import BATCH
from ehap.settings import Scheme
from ehap.settings.checks import share
from ehap.settings.qat import RANGE_MOMENTUM

OF_TRACES = 512
"""Most images for the exact traces that choose the bits of each layer."""


def quantize(network: nn.Module, scheme: Scheme, images: Images) -> SimulatedNetwork:
    """Return a copy of a network that rounds weights and activations as integers do (post-training quantization).

    The range of each activation is the mean of its ranges in batches of 64 images. BatchNorm is folded; weights and
    biases are rounded to the integers that ``export`` and ``save`` write.

    Args:
        network: Convolutions with BatchNorm directly behind them, or none, linear layers, ReLU, adds and pooling, dense
            or pruned, in float32 and in eval mode; not changed.
        scheme: Bits. With ``mix``, the exact traces on at most 512 of the images choose the bits of each layer.
        images: Normalised images (N, C, H, W) of the training data, without labels: a tensor or an iterable of batches,
            on any device. Some hundred do.

    Returns:
        A network in eval mode, on the device of ``network``. Its ``layer_bits`` are those of each layer's weights, None
        where all have the scheme's. To train it, take ``prepare_qat``.

    Raises:
        ArgumentError: The network is no module, in train mode or quantized already, or the scheme is none.
        SettingsError: scheme.norms is live: only a training moves statistics.
        ArchitectureError: The network is not in float32, cannot be traced, or has an operation that integers do not
            cover; it is named.
        DataError: There are no images, or they have another shape or type.
        MismatchError: Before rounding, the copy computes something else; the first layer that differs is named.
        NumericsError: A pixel, a weight or an output is NaN or infinite.

    Source: Yao et al. 2021, HAWQ-V3, arXiv:2011.10680.

    >>> import torch, ehap
    >>> conv, flat, fc = torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.Linear(8 * 36, 10)
    >>> model, images = torch.nn.Sequential(conv, torch.nn.ReLU(), flat, fc).eval(), torch.randn(64, 3, 8, 8)
    >>> int8 = ehap.quantize(model, ehap.Scheme(bits=8), images)
    >>> bool((int8(images) - model(images)).norm() < 0.05 * model(images).norm())
    True
    """
    inputs = _checked(network, scheme, images, "quantize")
    if scheme.norms == "live":
        raise SettingsError(
            "norms must be frozen to quantize: only a training moves statistics; take prepare_qat for live ones."
        )
    simulated = _calibrated(network, scheme, inputs, RANGE_MOMENTUM)
    whole = unpack(pack(simulated, network), network, scheme, simulated.input_shape, simulated.layer_bits)
    whole.reading = simulated.reading
    return whole


def prepare_qat(
    network: nn.Module, scheme: Scheme, images: Images, *, range_momentum: float = RANGE_MOMENTUM
) -> SimulatedNetwork:
    """Return a copy that rounds as integers do, for a training loop of your own (quantization-aware training).

    Ranges are calibrated as by ``quantize``. Gradients pass rounding unchanged. In train mode, activation ranges follow
    the images with the momentum given here.
    Call ``eval()`` after the training: then ranges and statistics are fixed, and the network can be exported and saved.
    A forward pass in train mode under torch.no_grad() widens the ranges, so test the network in eval mode.

    Args:
        network: See ``quantize``.
        scheme: Bits. With norms live, BatchNorm stays in the training, with the statistics of each batch.
        images: The images that the ranges start from, see ``quantize``.
        range_momentum: Share of the old activation range that stays at each training step.

    Returns:
        A network in train mode, on the device of ``network``.

    Raises:
        SettingsError: range_momentum is not in [0, 1).
        ArgumentError, ArchitectureError, DataError, MismatchError, NumericsError: See ``quantize``.

    Source: Jacob et al. 2018, arXiv:1712.05877; Yao et al. 2021, HAWQ-V3, arXiv:2011.10680.

    >>> import torch, ehap
    >>> conv, flat, fc = torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.Linear(8 * 36, 10)
    >>> model, images = torch.nn.Sequential(conv, torch.nn.ReLU(), flat, fc).eval(), torch.randn(64, 3, 8, 8)
    >>> network = ehap.prepare_qat(model, ehap.Scheme(bits=4), images)
    >>> optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    >>> for _ in range(3):
    ...     optimizer.zero_grad()
    ...     (network(images) - model(images)).square().mean().backward()
    ...     optimizer.step()
    >>> network.eval()(images).shape
    torch.Size([64, 10])
    """
    inputs = _checked(network, scheme, images, "prepare_qat")
    share("range_momentum", range_momentum, zero=True, one=False)
    return _calibrated(network, scheme, inputs, range_momentum)


def _checked(network: nn.Module, scheme: Scheme, images: Images, function: str) -> Tensor:
    """Return the images (N, C, H, W) on the network's device."""
    checked_network(network, "network", function)
    if not isinstance(scheme, Scheme):
        raise ArgumentError(f"{function}: expected a scheme such as ehap.Scheme(bits=8), got {type(scheme).__name__}.")
    return gathered(images, network, function)


def _calibrated(network: nn.Module, scheme: Scheme, images: Tensor, range_momentum: float) -> SimulatedNetwork:
    channels, rows, columns = images.shape[1:]
    shape, example = (channels, rows, columns), images[:EXAMPLES]
    bits = _bits(network, scheme, images) if scheme.mix else None
    simulated = prepared(network, scheme, shape, bits, example, range_momentum)
    calibrate_on_batches_(simulated, images.split(BATCH))
    return simulated


def _bits(network: nn.Module, scheme: Scheme, images: Tensor) -> dict[str, int]:
    """Return layer → bits of its weights, by exact traces on images that are evenly spaced among the given ones."""
    channels, rows, columns = images.shape[1:]
    with evaluating(network), torch.no_grad():
        output_of(network, images[:EXAMPLES])  # a clear error for images of another shape
    shown = images[torch.linspace(0, len(images) - 1, min(len(images), OF_TRACES)).round().long().to(images.device)]
    unused = torch.zeros(len(shown), dtype=torch.int64, device=shown.device)  # the traces do not depend on labels
    return mixed_bits(
        network,
        scheme,
        (channels, rows, columns),
        lambda folded: channel_scores(folded, shown, unused, "trace")["trace"],
    )
